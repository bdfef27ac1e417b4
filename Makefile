# Everything a person does with the project, one word each. Tools live in .venv, pinned with hashes.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# Tests start hundreds of Python processes: where bytecode may not be kept, each of them compiles Django anew.
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.installed
WORKERS ?= 3
PYTEST := $(BIN)/pytest -n $(WORKERS)
# What touches no database is run once, with SQLite, and so is what a browser shows; but for the stories that go through all.
WITHOUT_DATABASE := -m "not acceptance" $(addprefix --ignore tests/,unit broker runtime demo docs) \
	$(patsubst %,--ignore tests/audit/test_%.py,actions anchors bundle checkpoint merkle rows sentences verify witness)
ON_POSTGRES := $(addprefix tests/acceptance/test_,story.py up.py)

.PHONY: help demo test test-sqlite test-postgres check bench chaos lock

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) ## Run everything on this machine with a sample workload
	@exec $(BIN)/python manage.py up --demo

test: test-sqlite test-postgres ## Run every test, on SQLite and on PostgreSQL

# Installations are started and killed in tests/acceptance: that needs the machine for itself, and waits more than it works.
test-sqlite: $(STAMP)
	$(PYTEST) --ignore tests/acceptance
	$(PYTEST) -n 4 tests/acceptance

test-postgres: $(STAMP)
	$(BIN)/python -m tests.support.postgres $(PYTEST) --ignore tests/acceptance $(WITHOUT_DATABASE)
	$(BIN)/python -m tests.support.postgres $(PYTEST) $(ON_POSTGRES)

check: $(STAMP) ## The static gate: format, lint, types, layers, templates, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	git ls-files -z 'templates/*.html' | xargs -0 $(BIN)/djade --target-version 6.0 --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING

bench: $(STAMP) ## Benchmarks: ours and theirs in one run, with ratios
	$(BIN)/uv pip sync -q requirements/bench.txt requirements/uv.txt
	$(BIN)/python -m bench.sampler
	$(BIN)/python -m bench.overview
	$(BIN)/python -m bench.commands
	$(BIN)/python -m bench.recovery
	$(BIN)/python -m bench.dead_letters
	$(BIN)/python -m bench.promoter
	$(BIN)/python -m bench.requeue
	$(BIN)/python -m tests.support.postgres --durable $(BIN)/python -m bench.requeue
	$(BIN)/python -m bench.jobs
	$(BIN)/python -m bench.idle
	$(BIN)/python -m bench.claims
	$(BIN)/python -m bench.audit_log
	$(BIN)/python -m tests.support.postgres --durable $(BIN)/python -m bench.audit_writers

chaos: $(STAMP) ## The failure suite: processes killed at bad moments, brokers lost, configs tampered with
	$(PYTEST) tests/operations/test_crash.py tests/audit/test_tamper.py tests/audit/test_protection.py \
		tests/controller/test_processes.py tests/broker/test_moves.py tests/runtime/test_losses.py tests/runtime/test_survival.py \
		$(addprefix tests/runtime/test_,rq_table.py recovery.py outages.py) tests/acceptance/test_kill.py
	$(BIN)/python -m tests.operations.chaos
	$(BIN)/python -m tests.support.postgres $(BIN)/python -m tests.operations.chaos
	$(BIN)/python -m tests.operations.whole
	$(BIN)/python -m tests.support.postgres $(BIN)/python -m tests.operations.whole
	$(BIN)/python -m tests.runtime.chaos --jobs 1000 --seeds 3 --longest 5 --every 0.5 --storm 60
	$(BIN)/python -m tests.audit.chaos rounds 200
	$(BIN)/python -m tests.audit.chaos hold 60
	$(BIN)/python -m tests.support.postgres $(BIN)/python -m tests.audit.chaos rounds 200
	$(BIN)/python -m tests.support.postgres $(BIN)/python -m tests.audit.chaos hold 60

lock: $(STAMP) ## Pin requirements/ anew from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header pyproject.toml --extra runtime -o requirements/runtime.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header pyproject.toml --extra console -o requirements/base.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header pyproject.toml --extra console --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header pyproject.toml --extra console --group dev --group bench -o requirements/bench.txt

$(STAMP): requirements/dev.txt requirements/uv.txt
	@sh deploy/find-python $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync -q requirements/dev.txt requirements/uv.txt
	@touch $@
