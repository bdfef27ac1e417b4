"""What a requeue would freeze, and what of it would be skipped. Looking changes nothing."""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.broker.connection import BrokerUnavailable, get_broker
from pools.broker.moves import Outcome
from pools.broker.skipping import LIMIT, foresee
from pools.forms.dead_letters import chosen
from pools.models import DeadLetter, OperationKind
from pools.operations import Selection
from pools.operations.errors import Refused
from pools.operations.selection import select
from pools.selectors.approvals import asked
from pools.selectors.dead_letters import DeadLetterFilter, FilterError
from pools.selectors.phrases import jobs, names
from pools.selectors.triage import lacking, preview_of, right
from pools.selectors.warnings import warnings
from pools.views.filtering import address
from pools.views.handling import VERBS, Offer

LIST = "Back to the list"
POISON = "poison"
WHY: dict[str, str] = {
    Outcome.NOT_FAILED: "no longer in the failed registry: requeued or deleted by somebody",
    Outcome.GONE: "gone: the record has expired or was deleted",
    Outcome.DAMAGED: "damaged: RQ could not run it",
    POISON: "poison: came back from as many requeues as their pool allows",
}


@dataclass(frozen=True)
class Foreseen:
    """Of ``looked`` jobs, the oldest, how many would be skipped and why; ``problem``: why nobody could look.

    ``orphans``: how many of those that can be requeued depend on a job that is gone.
    """

    looked: int
    skipped: list[tuple[str, int]]
    problem: str = ""
    orphans: int = 0

    @property
    def requeued(self) -> int:
        return self.looked - sum(number for _, number in self.skipped)


@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """For a filter as in the list, or for ``id`` (dead letters); leads back there, and on to the requeue of them."""
    try:
        context, status = _shown(request), 200
    except (FilterError, Refused) as problem:
        context, status = {"problem": problem.message, "back": reverse("dead-letters"), "back_label": LIST}, 422
    return render(request, "dead_letters/preview.html", context, status=status)


def _shown(request: HttpRequest) -> dict[str, Any]:
    """Raises ``FilterError``, ``Refused``."""
    actor, verb = actor_of(request), VERBS["requeue"]
    ids = chosen(request.GET.getlist("id"))
    wanted = None if ids else DeadLetterFilter.from_query(request.GET.dict())
    actor = actor_of(request)
    found = select(actor, Selection(ids=ids, filter=wanted), OperationKind.REQUEUE).letters
    shown = preview_of(found)
    without = lacking(actor, verb.permission, shown)
    url = reverse("dead-letters-requeue")
    if wanted:
        url += "?" + urlencode(wanted.at_moment(shown.newest).as_query())
    back, back_label = _back(wanted)
    return {
        "preview": shown,
        "warnings": warnings(verb.kind, shown, asked(actor, shown.by_pool), named=bool(ids)),
        "foreseen": _foreseen(found, named=bool(ids)),
        "offers": [Offer(verb, url, right(verb.permission, allowed=not without))],
        "what": jobs(shown.count),
        "lacking": names(without),
        "hidden": [("id", pk) for pk in ids] or [("all_matching", 1)],
        "back": back,
        "back_label": back_label,
    }


def _back(wanted: DeadLetterFilter | None) -> tuple[str, str]:
    """Where these jobs are listed: the list by the same filter, or the page of the one group that it names."""
    if wanted is None:
        return address(DeadLetterFilter(), "jobs"), LIST
    group = wanted.as_query() == {"group": wanted.group} and wanted.group.isdigit()
    return (reverse("failure-group", args=[wanted.group]), "Back to the group") if group else (address(wanted), LIST)


def _foreseen(found: QuerySet[DeadLetter], *, named: bool) -> Foreseen:
    """``named``: one by one, then poison is not skipped."""
    columns = ("pool__broker", "job_id", "queue", "came_back", "pool__poison_after")
    oldest = list(found.order_by("failed_at", "pk").values_list(*columns)[:LIMIT])
    aliases = {alias for alias, *_ in oldest}
    if len(aliases) != 1:
        return Foreseen(0, [], "these jobs lie on several brokers: choose those of one" if aliases else "")
    jobs = [(job_id, queue) for _, job_id, queue, times, limit in oldest if named or not 0 < limit <= times]
    try:
        outcomes = foresee(get_broker(*aliases), jobs, orphans_stay=True)
    except BrokerUnavailable as error:
        return Foreseen(0, [], error.why)
    counts = Counter[str](outcomes) + Counter({POISON: len(oldest) - len(jobs)})
    skipped = [(why, counts[outcome]) for outcome, why in WHY.items() if counts[outcome]]
    return Foreseen(len(oldest), skipped, orphans=counts[Outcome.ORPHANED])
