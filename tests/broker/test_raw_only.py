"""The broker's speaker uses redis-py alone: what it does not import cannot unpickle a job or sweep a registry."""

import ast
from pathlib import Path

import pytest

import pools.broker

# Enqueues the console's own jobs through django-rq, and reads none.
ENQUEUES = "console_queue.py"
SOURCES = sorted(p for p in Path(next(iter(pools.broker.__path__))).glob("*.py") if p.name != ENQUEUES)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_neither_rq_nor_pickle_is_imported(source: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & {"rq", "django_rq", "pickle", "marshal", "shelve", "dill"}
