"""Groups with their dead letters, as the ingester leaves them."""

import zlib
from datetime import timedelta
from typing import Any

from django.utils import timezone

from pools.models import DeadLetter, DeadLetterDetail, FailureGroup, Pool
from tests.support import factories as make

HOSTILE = "<script>alert(1)</script>'; DROP TABLE pools_deadletter; --\u202e{{ 7*7 }}"
TRACEBACK = """Traceback (most recent call last):
  File "/app/shop/payments/gateway.py", line 41, in charge
    with self.pool.connection(self.region_host) as conn:
TimeoutError: connect timed out
"""


def failed(
    pool: Pool,
    *ids: str,
    title: str = "TimeoutError: connect timed out",
    func: str = "shop.payments.capture",
    minutes: float = 10,
    **more: Any,
) -> FailureGroup:
    """A new group whose jobs failed ``minutes`` ago, each a millisecond after the one before."""
    exc_type = title.split(":")[0]
    still_open = 0 if "state" in more else len(ids)
    begin = timezone.now() - timedelta(minutes=minutes)
    about = {"func": func, "exc_type": exc_type, "first_seen": more.get("failed_at", begin)}
    group = make.failure_group(pool, title, open_count=still_open, total_count=len(ids), **about)
    values = {"pool": pool, "queue": pool.queues[0], "func": func, "exc_type": exc_type, "message": title} | more
    DeadLetter.objects.bulk_create(
        DeadLetter(group=group, job_id=job_id, **({"failed_at": begin + timedelta(milliseconds=n)} | values))
        for n, job_id in enumerate(ids)
    )
    return group


def with_traceback(letter: DeadLetter, text: str = TRACEBACK) -> DeadLetter:
    DeadLetterDetail.objects.create(dead_letter=letter, traceback=zlib.compress(text.encode()))
    return letter


def pks(*ids: str) -> list[int]:
    """Primary keys of these jobs' dead letters, in the order given."""
    found = dict(DeadLetter.objects.filter(job_id__in=ids).values_list("job_id", "pk"))
    return [found[job_id] for job_id in ids]


def numbered(count: int, name: str = "job") -> list[str]:
    return [f"{name}-{n}" for n in range(count)]
