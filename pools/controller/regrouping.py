"""Dead letters under the rules of grouping that hold now: after a release that changed them nothing is to be done.

What the read model keeps is enough for it, RQ's records are not asked. A group keeps its place, and all that people
decided and wrote, under the digest of its newest failure. Failures of it that have another cause now go to that
cause's group.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable

from django.db.models import QuerySet

from pools.broker.fingerprint import VERSION, Fingerprint, fingerprint
from pools.broker.tracebacks import parse_traceback
from pools.controller.lease import LeaderLease
from pools.controller.read_model import one_at_a_time
from pools.controller.twins import inherited, move, move_hours, twin
from pools.models import DeadLetter, DeadLetterState, FailureGroup
from pools.words import own_words

GROUPS, LETTERS = 200, 1000


class Regrouping:
    """First each group that older rules made gets its new digest, then each dead letter of those is looked at.

    A group has the new rules' ``digest_version`` when all is done: a controller that ends before begins anew.
    """

    name = "regrouping"
    interval = 60.0

    def __init__(self, lease: LeaderLease) -> None:
        self._lease = lease
        self._named = self._checked = 0

    def tick(self) -> bool:
        stale = FailureGroup.objects.filter(digest_version__lt=VERSION)
        if not stale.exists():
            return False
        if self._name(stale.filter(pk__gt=self._named)) or self._check(stale):
            return True
        with self._lease.fenced():
            stale.filter(pk__lte=self._named).update(digest_version=VERSION)
        self._named = self._checked = 0
        return False

    def _name(self, stale: QuerySet[FailureGroup]) -> bool:
        with one_at_a_time, self._lease.fenced():
            groups = list(stale.order_by("pk").select_for_update()[:GROUPS])
            for group in groups:
                letters = DeadLetter.objects.filter(group=group).select_related("detail")
                newest = letters.order_by("-failed_at", "-pk").first()
                cause = _cause(newest) if newest else None
                if cause and not FailureGroup.objects.filter(pool=group.pool_id, digest=cause.digest).exists():
                    group.digest, group.title = cause.digest, cause.title
                    group.save(update_fields=["digest", "title"])
        if groups:
            self._named = groups[-1].pk
        return bool(groups)

    def _check(self, stale: QuerySet[FailureGroup]) -> bool:
        """All letters are walked through in the order of the table, whatever groups they are of."""
        page = DeadLetter.objects.filter(pk__gt=self._checked).order_by("pk").values_list("pk", "group_id")[:LETTERS]
        rows, groups = list(page), set(stale.values_list("pk", flat=True))
        with one_at_a_time, self._lease.fenced():
            letters = DeadLetter.objects.filter(pk__in=[pk for pk, group in rows if group in groups]).order_by("pk")
            _regroup(letters.select_related("detail", "group__pool").select_for_update(of=("self",)))
        if rows:
            self._checked = rows[-1][0]
        return bool(rows)


def _cause(letter: DeadLetter) -> Fingerprint:
    detail = getattr(letter, "detail", None)
    printed = zlib.decompress(detail.traceback).decode() if detail else ""
    return fingerprint(letter.func, letter.exc_type, letter.message, parse_traceback(printed).frames)


def _regroup(letters: Iterable[DeadLetter]) -> None:
    """Move those whose cause is another than their group's, and keep the words by which each is found."""
    parted: dict[tuple[FailureGroup, FailureGroup], list[DeadLetter]] = defaultdict(list)
    twins: dict[tuple[int, str], FailureGroup] = {}
    worded = []
    for letter in letters:
        old, cause = letter.group, _cause(letter)
        if cause.digest != old.digest:
            key = (old.pk, cause.digest)
            if key not in twins:
                twins[key] = inherited(old, twin(old, old.pool, cause))
            parted[old, twins[key]].append(letter)
        words = own_words(letter.message, cause.title)
        if words != letter.words:
            letter.words = words
            worded.append(letter)
    DeadLetter.objects.bulk_update(worded, ["words"])
    for (old, new), moved in parted.items():
        DeadLetter.objects.filter(pk__in=[letter.pk for letter in moved]).update(group=new)
        opened = sum(letter.state == DeadLetterState.OPEN for letter in moved)
        move(old, new, opened=opened, failures=len(moved))
        move_hours(old, new, [letter.failed_at for letter in moved])
