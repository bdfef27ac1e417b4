"""Dead letters as after an incident, for looking at the inbox."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from pools.models import DeadLetter, FailureGroup, GroupState, Pool
from tests.dead_letters.letters import failed
from tests.support import factories as make
from tests.support.cast import Cast

CAUSES = [
    ("TimeoutError: connect to eu2.cardgate.example:443 timed out", "shop.payments.capture", 12, 20),
    ("MemoryError: cannot allocate 268,435,456 bytes", "media.thumbs.render", 7, 200),
    ("requests.HTTPError: 429 Too Many Requests from hooks.partner.example", "webhooks.deliver", 5, 900),
    ("KeyError: 'vat_region'", "shop.payments.invoice", 4, 5),
    ("ValueError: unknown currency 'XTS'", "shop.payments.refund", 2, 5000),
]


def job_ids(count: int, cause: int) -> list[str]:
    """As RQ makes them."""
    return [str(UUID(int=(cause + 1) << 100 | 4 << 76 | 8 << 60 | number)) for number in range(count)]


def furnish(cast: Cast) -> Pool:
    """Groups of several causes, ages and states in two pools; some letters vanish within a day."""
    make.broker()
    make.lease()
    pool = make.pool(cast.payments, versions=2, now={"waiting": 12, "workers": 4, "busy": 3, "wanted": 4})
    other = make.pool(cast.payments, "reports", now={"workers": 1})
    ran = {"host": "worker-eu-west-1a-07", "config_number": 2, "arguments": "(•••, •••, order=•••, retry=•••)"}
    ran |= {"started_at": make.ago(minutes=9000), "queue": "payments.high"}
    for n, (title, func, count, minutes) in enumerate(CAUSES):
        group = failed(other if n == 2 else pool, *job_ids(count, n), title=title, func=func, minutes=minutes, **ran)
        make.failure_hours(group, *range(n, 12 * n, 3), count)
    FailureGroup.objects.filter(title__startswith="MemoryError").update(state=GroupState.REGRESSED, owner=cast.alice)
    FailureGroup.objects.filter(title__startswith="ValueError").update(snoozed_until=timezone.now() + timedelta(days=2))
    DeadLetter.objects.filter(exc_type="KeyError").update(expires_at=timezone.now() + timedelta(hours=5))
    return pool
