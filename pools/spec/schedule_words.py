"""A schedule in words, for people who do not read cron: "at 02:30 and 14:30 on Monday to Friday"."""

import re
from collections.abc import Callable

from pools.spec.schedule import ALIASES

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: tuple[str, ...] = ("", "January", "February", "March", "April", "May", "June")
MONTHS += ("July", "August", "September", "October", "November", "December")
MOST_TIMES = 6


def words(text: str) -> str:
    """What ``Schedule(text)`` means. Fields that are too involved for a phrase stand as they were written."""
    minute, hour, day, month, weekday = ALIASES.get(text, text).split(" ")
    return " ".join(part for part in (_time(minute, hour), _day(day, weekday, hour), _month(month)) if part)


def _time(minute: str, hour: str) -> str:
    minutes, hours = _numbers(minute), _numbers(hour)
    if minutes and hours and len(minutes) * len(hours) <= MOST_TIMES:
        return "at " + _listed([f"{h:02}:{m:02}" for h in hours for m in minutes])
    past = "at " + _listed([f":{m:02}" for m in minutes]) if minutes else ""
    if hour == "*":
        return f"every hour {past}" if past else _every(minute, "minute") or f"in minutes {minute} of every hour"
    if past and (step := _every(hour, "hour")):
        return f"{step} {past}"
    return f"in minutes {minute} of hours {hour}"


def _every(field: str, unit: str) -> str:
    """``*`` and ``*/5``; nothing for other fields."""
    if field in ("*", "*/1"):
        return f"every {unit}"
    return f"every {field[2:]} {unit}s" if re.fullmatch(r"\*/[0-9]+", field) else ""


def _day(day: str, weekday: str, hour: str) -> str:
    parts = []
    if day != "*":
        parts.append(f"on day {_named(day, str)} of the month")
    if weekday != "*":
        preposition = "from" if "-" in weekday and "," not in weekday else "on"
        parts.append(f"{preposition} {_named(weekday, lambda number: WEEKDAYS[number] if number < 8 else str(number))}")
    if not parts:
        return "every day" if _numbers(hour) else ""
    return " or ".join(parts)  # cron's rule: either of them is enough


def _month(month: str) -> str:
    return (
        f"in {_named(month, lambda number: MONTHS[number] if 0 < number < 13 else str(number))}" if month != "*" else ""
    )


def _named(field: str, name: Callable[[int], str]) -> str:
    return _listed([" to ".join(_one(end, name) for end in part.split("-")) for part in field.split(",")])


def _one(text: str, name: Callable[[int], str]) -> str:
    if text.isdigit():
        return name(int(text))
    full = [known for known in (*WEEKDAYS, *MONTHS) if known and known[:3].lower() == text.lower()]
    return full[0] if full else text


def _numbers(field: str) -> list[int]:
    """The numbers of a plain list; nothing for any other field."""
    parts = field.split(",")
    return sorted({int(part) for part in parts}) if all(part.isdigit() for part in parts) else []


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
