"""How each part of the log is doing, as the controller last found it: kept for the pages, and no proof of anything."""

from collections.abc import Collection

import structlog
from django.db.models import Q
from django.utils import timezone

from audit.models import Condition

SIGNING = "signing"
PROTECTION = "protection"
CONTENTS = "contents"

log = structlog.get_logger(__name__)


def of_anchor(name: str) -> str:
    """The condition of the anchor that is called ``name``; its ``size`` is the newest checkpoint that it holds."""
    return f"anchor:{name}"


def of_witness(name: str) -> str:
    """The condition of a witness; its ``size`` is the newest checkpoint that it cosigned."""
    return f"witness:{name}"


def report(name: str, *, good: bool, detail: str = "", size: int | None = None) -> bool:
    """Store how ``name`` is doing; ``size`` never falls. True when it is news; bad news is logged."""
    before = Condition.objects.filter(name=name).first()
    kept = before.size if before else 0
    Condition.objects.update_or_create(
        name=name,
        defaults={"good": good, "detail": detail, "size": max(kept, size or 0), "at": timezone.now()},
    )
    news = before is None or (before.good, before.detail) != (good, detail)
    if news and not good:
        log.error("audit.condition", condition=name, detail=detail)
    elif news and before is not None:
        log.info("audit.condition_good_again", condition=name)
    return news


def retire(used: Collection[str]) -> None:
    """An anchor or a witness that is not among ``used`` any more is no trouble; how much it had stays known."""
    others = Condition.objects.filter(Q(name__startswith="anchor:") | Q(name__startswith="witness:"), good=False)
    for name in others.exclude(name__in=used).values_list("name", flat=True):
        report(name, good=True, detail="Not in use any more.")


def size_of(name: str) -> int:
    """The size that was last reported for ``name``; 0 without one."""
    return Condition.objects.filter(name=name).values_list("size", flat=True).first() or 0


def is_good_at(name: str, size: int) -> bool:
    """Whether ``name`` was good when it was last heard of, and had all of ``size``."""
    return Condition.objects.filter(name=name, good=True, size__gte=size).exists()
