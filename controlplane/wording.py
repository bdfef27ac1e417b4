"""How numbers, ages and durations read, everywhere the same. ``static/js/time.js`` follows the rules of ``age``."""

from datetime import UTC, datetime

MISSING = "\N{EN DASH}"
MINUTE, HOUR, DAY = 60, 3600, 86400


def count(value: object) -> str:
    """``5329`` as ``5,329``. Text passes unchanged, None is a dash."""
    if value is None:
        return MISSING
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def compact(value: float | None) -> str:
    """For axes and chips: ``950``, ``1.2 k``, ``18 k``, ``4.1 M``."""
    if value is None:
        return MISSING
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.1f}".removesuffix(".0") + f" {unit}" if abs(scaled) < 10 else f"{scaled:.0f} {unit}"
    return f"{value:,.0f}"


def percent(part: float, whole: float) -> str:
    """``29 %``, with one decimal where a round figure would say nothing: ``0.5 %``, ``99.4 %``, ``< 0.1 %``."""
    if not whole:
        return MISSING
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f}".removesuffix(".0") + " %" if share < 10 or 90 < share < 100 else f"{share:.0f} %"


def cell(value: object) -> object:
    """For a spreadsheet: text that it would take for a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def duration(seconds: float | None) -> str:
    """The two largest units: ``0.31 s``, ``52 s``, ``14 min 59 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return MISSING
    if round(seconds, 2) < MINUTE:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    for size, unit, small, small_unit in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def age(moment: datetime, now: datetime | None = None, *, short: bool = False) -> str:
    """``12 min ago``, ``in 34 min``; short: ``12 min``. One unit, rounded down."""
    seconds = int(((now or datetime.now(UTC)) - moment).total_seconds())
    distance = abs(seconds)
    if distance < MINUTE:
        text = f"{distance} s"
    elif distance < 100 * MINUTE:
        text = f"{distance // MINUTE} min"
    elif distance < 2 * DAY:
        text = f"{distance // HOUR} h"
    else:
        text = f"{distance // DAY} d"
    if short:
        return text
    return f"in {text}" if seconds < 0 else f"{text} ago"
