"""The verbs that an operation's state allows, named by their effect."""

from dataclasses import dataclass

from django.urls import reverse

from pools.models import Effect, Operation, OperationKind, OperationState
from pools.models.operation import TRANSITIONS
from pools.selectors.phrases import jobs
from pools.selectors.progress import Progress, open_items

ICONS = {
    "start": "player-play",
    "pause": "player-pause",
    "resume": "player-play",
    "recall": "corner-up-left",
    "again": "refresh",
    "cancel": "x",
}


@dataclass(frozen=True)
class Move:
    """A button of the operation's page. With a ``title`` it asks why first; ``button`` is what it then says."""

    verb: str
    label: str
    url: str
    title: str = ""
    button: str = ""
    says: str = ""
    tone: str = ""
    dismiss: str = "Back"

    @property
    def icon(self) -> str:
        return ICONS[self.verb]


def asks_why(verb: str, row: Operation) -> bool:
    return verb in ("cancel", "recall", "again") or (verb == "resume" and row.state == OperationState.STOPPED)


def moves(row: Operation, progress: Progress) -> list[Move]:
    verbs = [verb for verb in ("start", "pause", "resume") if verb in TRANSITIONS[OperationState(row.state)]]
    made = [] if row.recall else [_plain(row, progress, verb) for verb in verbs]
    if row.kind == OperationKind.REQUEUE:
        made += [*_recall(row), *_again(row)]
    if "cancel" in TRANSITIONS[OperationState(row.state)]:
        made.append(
            Move(
                "cancel",
                f"Cancel the remaining {progress.pending:,}",
                _url(row, "cancel"),
                title="Cancel this operation?",
                button="Cancel what is left",
                tone="bad",
                dismiss="Let it go on",
            )
        )
    return made


def _plain(row: Operation, progress: Progress, verb: str) -> Move:
    label = {
        "start": f"Send {jobs(progress.pending)}",
        "pause": "Pause sending",
        "resume": f"Resume, {jobs(progress.pending)} left",
    }[verb]
    if not asks_why(verb, row):
        return Move(verb, label, _url(row, verb))
    says = f"It stopped by itself: {row.stopped_because}. From here on it goes by your word, and failures count anew."
    return Move(verb, label, _url(row, verb), "Go on all the same?", f"Send {jobs(progress.pending)}", says)


def _recall(row: Operation) -> list[Move]:
    waiting = 0 if row.recall or row.effect_at else open_items(row).filter(effect="").count()
    if not waiting:
        return []
    says = f"{jobs(waiting)} not seen running yet. What is still queued becomes a dead letter again; what runs stays."
    if row.state == OperationState.RUNNING:
        says += " Sending is paused."
    label = f"Recall {waiting:,} still queued"
    return [Move("recall", label, _url(row, "recall"), "Recall what is still queued?", f"Recall {jobs(waiting)}", says)]


def _again(row: Operation) -> list[Move]:
    failed = row.effects.get(Effect.FAILED_AGAIN, 0)
    if not failed:
        return []
    says = (
        "Freezes those of them that are dead letters now, as a new operation with the same plan. Nothing is sent yet."
    )
    label = f"Do again for {failed:,} failed"
    return [Move("again", label, _url(row, "again"), "Do it again for the failed ones?", "Freeze them", says)]


def _url(row: Operation, verb: str) -> str:
    return reverse(f"operation-{verb}", args=[row.pk])
