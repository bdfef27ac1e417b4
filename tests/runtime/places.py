"""Where a job is: the answer must have exactly one element."""

from typing import Any

REGISTRIES = ("failed", "finished", "scheduled", "deferred", "canceled", "ready")


def places(client: Any, queue: str, job_id: str) -> list[str]:
    """Every list and registry of RQ that holds the job, read without RQ's clean-up."""
    raw = job_id.encode()
    found = [name for name in REGISTRIES if client.zscore(f"rq:{name}:{queue}", raw) is not None]
    found += ["started" for entry in client.zrange(f"rq:wip:{queue}", 0, -1) if entry.split(b":")[0] == raw]
    found += ["queue"] * client.lrange(f"rq:queue:{queue}", 0, -1).count(raw)
    return found + ["intermediate"] * client.lrange(f"rq:queue:{queue}:intermediate", 0, -1).count(raw)
