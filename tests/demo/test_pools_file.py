"""The demo's pool specs are valid, and they fit the demo's producer and jobs."""

import fnmatch

import pytest
import stdlib_jobs
import yaml

from pools.spec import PoolSpec, parse_spec
from tests.demo.conftest import DEMO


@pytest.fixture(scope="module")
def pools() -> dict[str, PoolSpec]:
    return {slug: parse_spec(spec) for slug, spec in yaml.safe_load((DEMO / "pools.yaml").read_text()).items()}


def test_both_pools_are_there(pools: dict[str, PoolSpec]) -> None:
    assert {slug: spec.queues for slug, spec in pools.items()} == {
        "stdlib-parse": ["stdlib.parse"],
        "stdlib-compress": ["stdlib.compress"],
    }


def test_they_read_what_the_producer_writes(pools: dict[str, PoolSpec]) -> None:
    for spec in pools.values():
        assert spec.serializer == "json"
        assert "STDLIB_DEMO_OUT" in spec.environment
        assert spec.application.preload == ["background", stdlib_jobs.__name__]


def test_the_retry_rule_matches_the_parse_job(pools: dict[str, PoolSpec]) -> None:
    (rule,) = pools["stdlib-parse"].retry
    job = stdlib_jobs.parse_module
    assert fnmatch.fnmatchcase(f"{job.__module__}.{job.__qualname__}", rule.task)
    assert f"{stdlib_jobs.__name__}.{stdlib_jobs.UnresolvedImport.__name__}" in rule.permanent


def test_gates_and_cron_name_jobs_that_there_are(pools: dict[str, PoolSpec]) -> None:
    jobs = [f"{stdlib_jobs.__name__}.{job}" for job in ("parse_module", "compress_module", "summarize")]
    assert all(callable(getattr(stdlib_jobs, job.rpartition(".")[2])) for job in jobs)
    (breaker,), (limit,) = pools["stdlib-parse"].breakers, pools["stdlib-compress"].limits
    assert [fnmatch.filter(jobs, task) for task in (*breaker.tasks, *limit.tasks)] == [jobs, [jobs[1]]]
    assert [entry.task for entry in pools["stdlib-parse"].cron] == [jobs[2]]
