"""When a cron entry is due: cron's five fields, and the days on which a clock jumps."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from pools.spec.schedule import ALIASES, Schedule
from pools.spec.schedule_words import words

BERLIN = "Europe/Berlin"
ZONES = (BERLIN, "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "UTC")


def unix(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def walls(text: str, zone: str, start: str, count: int) -> list[str]:
    """The next slots as the wall clock shows them, with the offset."""
    schedule, moment, found = Schedule(text, zone), unix(start), []
    for _ in range(count):
        moment = schedule.after(moment)
        found.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%d %H:%M%z"))
    return found


def test_a_time_that_does_not_exist_is_once_when_the_clock_would_have_shown_it() -> None:
    """On 29 March 2026 Berlin's clock goes from 02:00 to 03:00."""
    assert walls("30 2 * * *", BERLIN, "2026-03-28T00:00", 3) == ["28 02:30+0100", "29 03:30+0200", "30 02:30+0200"]


def test_an_interval_has_no_slot_twice_where_the_clock_jumps_ahead() -> None:
    expected = ["29 01:30+0100", "29 03:00+0200", "29 03:30+0200", "29 04:00+0200"]
    assert walls("*/30 * * * *", BERLIN, "2026-03-29T00:10", 4) == expected


def test_a_time_that_exists_twice_is_once() -> None:
    """On 25 October 2026 Berlin's clock goes from 03:00 back to 02:00."""
    assert walls("30 2 * * *", BERLIN, "2026-10-24T12:00", 2) == ["25 02:30+0200", "26 02:30+0100"]
    assert walls("0,30 2,3 * * *", BERLIN, "2026-10-24T12:00", 5)[:4] == [
        "25 02:00+0200",
        "25 02:30+0200",
        "25 03:00+0100",
        "25 03:30+0100",
    ]


def test_an_interval_goes_on_through_an_hour_that_exists_twice() -> None:
    expected = ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"]
    assert walls("*/30 * * * *", BERLIN, "2026-10-24T23:50", 5) == expected


def test_a_jump_of_half_an_hour() -> None:
    """On 4 October 2026 Lord Howe's clock goes from 02:00 to 02:30: 02:15 is 02:45, later than 02:40."""
    expected = ["04 02:40+1100", "04 02:45+1100", "05 02:15+1100"]
    assert walls("15,40 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 3) == expected


def test_a_day_that_does_not_exist() -> None:
    """Samoa went from 29 to 31 December 2011: noon of the 30th would have been noon of the 31st."""
    expected = ["29 12:00-1000", "31 12:00+1400", "01 12:00+1400"]
    assert walls("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", 3) == expected


@pytest.mark.parametrize("seed", range(40))
def test_looking_back_finds_what_looking_ahead_found(seed: int) -> None:
    chance = random.Random(seed)
    fields = (chance.choice(["*", "*/7", "15,40", "30"]), chance.choice(["*", "2", "2,3", "*/2", "1-3"]))
    schedule = Schedule(f"{fields[0]} {fields[1]} * * {chance.choice(['*', '0', '1-5'])}", chance.choice(ZONES))
    start = unix(chance.choice(["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"]))
    end = start + int(timedelta(days=2).total_seconds())
    ahead, back, moment = [], [], start
    while (moment := schedule.after(moment)) < end:
        ahead.append(moment)
    moment = end
    while (moment := schedule.before(moment)) > start:
        back.append(moment)
    assert back[::-1] == ahead
    assert all(earlier < later for earlier, later in pairwise(ahead))


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_are_their_fields(alias: str) -> None:
    assert Schedule(alias, BERLIN).after(0) == Schedule(ALIASES[alias], BERLIN).after(0)


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * *", "@reboot", "61 * * * *", "*/0 * * * *", "0 0 30 2 *", "0 0 L * *", "a b c d e"],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Schedule(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("@hourly", "every hour at :00"),
        ("5,35 * * * *", "every hour at :05 and :35"),
        ("15 */2 * * *", "every 2 hours at :15"),
        ("30 2 * * *", "at 02:30 every day"),
        ("0 9,12,17 * * 1-5", "at 09:00, 12:00 and 17:00 from Monday to Friday"),
        ("@weekly", "at 00:00 on Sunday"),
        ("0 0 1 * *", "at 00:00 on day 1 of the month"),
        ("0 0 1,15 * FRI", "at 00:00 on day 1 and 15 of the month or on Friday"),
        ("@yearly", "at 00:00 on day 1 of the month in January"),
        ("0 6 * jun-aug *", "at 06:00 every day in June to August"),
        ("*/10 9-17 * * *", "in minutes */10 of hours 9-17"),
        ("*/10 * * * sun", "every 10 minutes on Sunday"),
    ],
)
def test_words(text: str, said: str) -> None:
    Schedule(text)
    assert words(text) == said
