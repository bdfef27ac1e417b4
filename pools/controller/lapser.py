"""Ends the wait of operations that nobody approved in time."""

from collections.abc import Callable

from django.utils import timezone

from pools.models import Operation, OperationState


class Lapser:
    """Gives each to ``lapse``."""

    name = "lapser"
    interval = 30.0

    def __init__(self, lapse: Callable[[Operation], None]) -> None:
        self._lapse = lapse

    def tick(self) -> bool:
        waits = Operation.objects.filter(state=OperationState.AWAITING, approval__decision="")
        for row in waits.filter(approval__lapses_at__lte=timezone.now()).order_by("pk"):
            self._lapse(row)
        return False
