"""Renews configs in time: a signature is valid for 90 days, and a fleet must not stop because nothing changed."""

from collections.abc import Callable
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from pools.controller.publisher import VALIDITY
from pools.models import ConfigState, ConfigVersion, Pool


class Renewal:
    """Gives each pool whose newest version has less than a third of its validity left to ``renew``."""

    name = "renewal"
    interval = 300.0

    def __init__(self, renew: Callable[[Pool], None]) -> None:
        self._renew = renew

    def tick(self) -> bool:
        soon = timezone.now() + timedelta(seconds=VALIDITY / 3)
        due = ConfigVersion.objects.select_related("pool").filter(
            state=ConfigState.PUBLISHED, number=F("pool__config_number"), expires__lt=soon
        )
        for version in due:
            self._renew(version.pool)
        return False
