"""When a cron entry is due: five cron fields, read on the wall clock of a time zone. Pure: no clock of its own.

A slot is a Unix time. Where the wall clock jumps, slots follow these rules, so that each is one moment and no more:

- A local time that does not exist (02:30, when 02:00 becomes 03:00) is the moment at which the clock would have shown
  it without the jump (03:30). Where that is a slot anyway, there is one slot and not two.
- A local time that exists twice is its first moment. Only where the hour field begins with ``*`` (every hour, every
  second hour …) are both moments slots: there people mean an interval, and not a time of day.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# What cron has everywhere. croniter knows more (seconds, L, #, hashed fields), each with surprises of its own.
_ATOM = r"(\*|[0-9]{1,2}(-[0-9]{1,2})?)(/[1-9][0-9]?)?"
_NAMED = r"(\*|([0-9]{1,2}|[A-Za-z]{3})(-([0-9]{1,2}|[A-Za-z]{3}))?)(/[1-9][0-9]?)?"
FIVE_FIELDS = re.compile(" ".join(rf"{atom}(,{atom})*" for atom in (_ATOM, _ATOM, _ATOM, _NAMED, _NAMED)))
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Schedule:
    """Raises ValueError with the end of a sentence for what is no schedule, KeyError for an unknown time zone."""

    text: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if self.text not in ALIASES and FIVE_FIELDS.fullmatch(self.text) is None:
            raise ValueError("must be five cron fields, such as 30 2 * * 1-5, or one of " + ", ".join(ALIASES))
        try:
            self.after(0)
        except CroniterError as error:
            raise ValueError(f"must name times that exist: {str(error)[:200]}") from None

    @property
    def fields(self) -> str:
        return ALIASES.get(self.text, self.text)

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def after(self, moment: int) -> int:
        """The first slot later than ``moment``."""
        return self._seek(moment, 1)

    def before(self, moment: int) -> int:
        """The last slot earlier than ``moment``."""
        return self._seek(moment, -1)

    def _seek(self, moment: int, way: int) -> int:
        """The nearest slot on one side (``way``: 1 later, -1 earlier).

        The wall clock's order is the true one except beside a jump: there the search reaches further by its size.
        """
        local = datetime.fromtimestamp(moment, self.zone).replace(tzinfo=None)
        walk = croniter(self.fields, local - way * self._jump(moment))
        step = walk.get_next if way > 0 else walk.get_prev
        found: int | None = None
        end = local
        while True:
            wall: datetime = step(datetime)  # type: ignore[no-untyped-call]
            if found is not None and (wall - end) * way > timedelta(0):
                return found
            for slot in self._moments(wall):
                if (slot - moment) * way > 0 and (found is None or (slot - found) * way < 0):
                    found, end = slot, wall + way * self._jump(slot)

    def _moments(self, wall: datetime) -> list[int]:
        first, second = (int(wall.replace(tzinfo=self.zone, fold=fold).timestamp()) for fold in (0, 1))
        is_interval = self.fields.split(" ")[1].startswith("*")
        return [first, second] if second > first and is_interval else [first]

    def _jump(self, moment: int) -> timedelta:
        """By how much the wall clock jumps within a day of ``moment``; nearly always nothing."""
        at = datetime.fromtimestamp(moment, UTC)
        before, after = ((at + way * _DAY).astimezone(self.zone).utcoffset() for way in (-1, 1))
        assert before is not None
        assert after is not None
        return abs(after - before)


@lru_cache(maxsize=4096)
def schedule(text: str, timezone: str) -> Schedule:
    """The same object for the same text: reading one costs a search. Raises ValueError."""
    return Schedule(text, timezone)
