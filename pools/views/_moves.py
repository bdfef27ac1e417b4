"""The verbs that an operation's state allows, named by their effect."""

from dataclasses import dataclass, replace

from django.urls import reverse

from pools.models import Effect, Operation, OperationKind, OperationState
from pools.models.operation import TRANSITIONS
from pools.selectors.phrases import jobs
from pools.selectors.progress import Progress, open_items
from pools.selectors.shelf import LEAVES, at_most, took_away

ICONS = {
    "start": "player-play",
    "pause": "player-pause",
    "resume": "player-play",
    "recall": "corner-up-left",
    "again": "refresh",
    "undo": "restore",
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
    return verb in ("cancel", "recall", "again", "undo") or (verb == "resume" and row.state == OperationState.STOPPED)


def moves(row: Operation, progress: Progress) -> tuple[list[Move], list[Move]]:
    """Those that the state allows, in the order of their buttons; and all that ask why, allowed or not yet: the page
    stays open while the state changes, and finds the dialog there."""
    following = TRANSITIONS[OperationState(row.state)]
    plain = [] if row.recall else [verb for verb in ("start", "pause", "resume") if verb in following]
    allowed = [_plain(row, progress, verb) for verb in plain if not asks_why(verb, row)]
    asked: list[tuple[Move, bool]] = []
    if row.runs_again:
        waiting, failed = _recallable(row), row.effects.get(Effect.FAILED_AGAIN, 0)
        asked = [
            (_go_on(row, progress), "resume" in plain and asks_why("resume", row)),
            (_recall(row, waiting), waiting > 0),
            (_again(row, failed), failed > 0),
        ]
    if row.kind in LEAVES:
        over = row.state not in (OperationState.FROZEN, OperationState.RUNNING)
        left = at_most(took_away(row)) if over else "0"
        asked = [(_undo(row, left), left != "0")]
    asked.append((_cancel(row, progress), "cancel" in following))
    return allowed + [move for move, may in asked if may], [move for move, _ in asked]


def _plain(row: Operation, progress: Progress, verb: str) -> Move:
    label = {
        "start": f"Send {jobs(progress.pending)}",
        "pause": "Pause sending",
        "resume": f"Resume, {jobs(progress.pending)} left",
    }[verb]
    return Move(verb, label, _url(row, verb))


def _go_on(row: Operation, progress: Progress) -> Move:
    says = f"It stopped by itself: {row.stopped_because}. From here on it goes by your word, and failures count anew."
    plain = _plain(row, progress, "resume")
    return replace(plain, title="Go on all the same?", button=f"Send {jobs(progress.pending)}", says=says)


def _cancel(row: Operation, progress: Progress) -> Move:
    says = (
        f"{progress.handled:,} of {jobs(progress.frozen)} have their outcome and keep it; a chunk that is under way is"
        f" finished. The other {progress.pending:,} stay among the dead letters."
    )
    label = f"Cancel the remaining {progress.pending:,}"
    if row.state == OperationState.AWAITING:
        says = f"Nothing was sent. All {jobs(progress.frozen)} stay among the dead letters."
        button, title = f"Withdraw {jobs(progress.frozen)}", "Withdraw this operation?"
        return Move("cancel", "Withdraw", _url(row, "cancel"), title, button, says, "bad", "Let it wait")
    move = Move("cancel", label, _url(row, "cancel"), "Cancel this operation?", "Cancel what is left", says)
    return replace(move, tone="bad", dismiss="Let it go on")


def _recallable(row: Operation) -> int:
    return (
        0
        if row.recall or row.effect_at or row.kind != OperationKind.REQUEUE
        else open_items(row).filter(effect="").count()
    )


def _recall(row: Operation, waiting: int) -> Move:
    says = f"{jobs(waiting)} not seen running yet. What is still queued becomes a dead letter again; what runs stays."
    if row.state == OperationState.RUNNING:
        says += " Sending is paused."
    label = f"Recall {waiting:,} still queued"
    return Move("recall", label, _url(row, "recall"), "Recall what is still queued?", f"Recall {jobs(waiting)}", says)


def _again(row: Operation, failed: int) -> Move:
    says = (
        "Freezes those of them that are dead letters now, as a new operation with the same plan. Nothing is sent yet."
    )
    label = f"Do again for {failed:,} failed"
    return Move("again", label, _url(row, "again"), "Do it again for the failed ones?", "Freeze them", says)


def _undo(row: Operation, left: str) -> Move:
    many = f"{left} job{'' if left == '1' else 's'}"
    says = f"{many} that it took away can be restored: they become dead letters again, with the expiry that they had."
    return Move("undo", f"Undo: restore {many}", _url(row, "undo"), "Undo this operation?", f"Restore {many}", says)


def _url(row: Operation, verb: str) -> str:
    return reverse(f"operation-{verb}", args=[row.pk])
