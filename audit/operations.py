"""Every write of the auditor's own, one verb a function. None of them touches an event."""

from typing import Any

from django.db.models import Q, QuerySet

from audit.actor import Actor
from audit.exporter import target_of
from audit.models import CheckpointRequest, Event, Export, ExportKind, ExportState, Personal, SavedFilter
from audit.operation import operation
from audit.permissions import ERASE, LOG, VIEW, require
from audit.recorder import AuditError, record
from audit.selectors import Filters
from audit.target import Target
from controlplane.saved_queries import SAVED_EACH, TooMany, keep

UNFINISHED_EACH = 5


@operation("audit.export_requested")
def request_export(*, actor: Actor, kind: str, filters: Filters, personal: bool, reason: str) -> Export:
    """Ask for a file of the events that ``filters`` match; the controller writes it. Raises Denied, AuditError.

    ``personal``: with the plain values of personal fields, as far as they are not erased.
    """
    require(actor, VIEW)
    reason = _clean_reason(reason)
    unfinished = Export.objects.filter(state__in=(ExportState.WAITING, ExportState.RUNNING), actor__id=actor.id)
    if unfinished.count() >= UNFINISHED_EACH:
        raise AuditError("kind", f"{UNFINISHED_EACH} exports of yours are not done yet: wait. Nothing was changed.")
    wanted: dict[str, Any] = filters.as_dict() | ({"personal": True} if personal else {})
    export = Export.objects.create(
        kind=ExportKind(kind).value,
        filters=wanted,
        reason=reason,
        actor={"kind": actor.kind, "id": actor.id, "name": actor.name},
    )
    CheckpointRequest.objects.create()  # so that the file holds what there is now
    record(
        actor=actor,
        action="audit.export_requested",
        target=target_of(export),
        outcome="intent",
        reason=reason,
        detail={"kind": export.kind, "personal": personal, "filters": filters.as_dict()},
    )
    return export


@operation("audit.personal_erased")
def erase_personal(*, actor: Actor, index: int, field: str, everywhere: bool, reason: str) -> int:
    """Erase an event's personal values; returns how many. Raises Denied, AuditError, Event.DoesNotExist.

    ``field`` empty: all of the event's. ``everywhere``: wherever these fields have these values, in every event. The
    event of the erasure names fields and counts, never a value.
    """
    require(actor, ERASE)
    reason = _clean_reason(reason)
    event = Event.objects.get(placed__index=index)
    own = event.personal.filter(field=field) if field else event.personal.all()
    rows: QuerySet[Personal] = _same_values(own) if everywhere else own
    fields = sorted(set(own.values_list("field", flat=True)))
    if any(value in reason for value in own.values_list("value", flat=True)):
        raise AuditError("reason", "It holds the value itself, and reasons are never erased. Nothing was changed.")
    events = rows.values("event").distinct().count()
    erased, _ = rows.delete()
    if not erased:
        raise AuditError("field", "There is nothing left to erase. Nothing was changed.")
    record(
        actor=actor,
        action="audit.personal_erased",
        target=Target(kind="event", id=str(event.uid), name=f"event {index:,}"),
        reason=reason,
        detail={"values": erased, "events": events, "fields": fields},
    )
    return erased


@operation("audit.filter_saved")
def save_filter(*, actor: Actor, name: str, query: str) -> SavedFilter:
    """Keep a timeline's query under a name of the actor's own; the same name again replaces it. Raises Denied,
    AuditError."""
    require(actor, VIEW)
    try:
        saved = keep(SavedFilter, actor.id, name, query=query)
    except TooMany as full:
        message = f"You have {SAVED_EACH} saved filters: delete one first. Nothing was changed."
        raise AuditError("name", message) from full
    record(actor=actor, action="audit.filter_saved", target=_filter_target(saved), after={"query": query})
    return saved


@operation("audit.filter_removed")
def delete_filter(*, actor: Actor, pk: int) -> None:
    """Forget a saved filter of the actor's own. Raises Denied, SavedFilter.DoesNotExist."""
    require(actor, VIEW)
    saved = SavedFilter.objects.select_for_update().get(pk=pk, owner_id=actor.id)
    record(actor=actor, action="audit.filter_removed", target=_filter_target(saved), before={"query": saved.query})
    saved.delete()


@operation("audit.checkpoint_requested")
def request_checkpoint(*, actor: Actor) -> None:
    """Ask the controller for a checkpoint now. Raises Denied."""
    require(actor, VIEW)
    CheckpointRequest.objects.create()
    record(actor=actor, action="audit.checkpoint_requested", target=LOG)


def _same_values(rows: QuerySet[Personal]) -> QuerySet[Personal]:
    alike = Q.create([Q(field=field, value=value) for field, value in rows.values_list("field", "value")], Q.OR)
    return Personal.objects.filter(alike) if alike else Personal.objects.none()


def _filter_target(saved: SavedFilter) -> Target:
    return Target(kind="filter", id=str(saved.pk), name=saved.name)


def _clean_reason(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise AuditError("reason", "Say why: the reason goes into the audit log. Nothing was changed.")
    return reason
