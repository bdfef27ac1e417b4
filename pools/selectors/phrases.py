"""Small pieces of sentences that several selectors build."""

from collections.abc import Mapping, Sequence

from controlplane.wording import count
from pools.models import Effect


def counted(number: int, noun: str) -> str:
    """``1 worker``, ``4,102 workers``."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def jobs(number: int) -> str:
    return counted(number, "job")


def names(values: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and 3 more``."""
    if len(values) > 2:
        return f"{values[0]}, {values[1]} and {len(values) - 2} more"
    return " and ".join(values)


def one_of(values: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))


def effect_phrase(effects: Mapping[str, int]) -> str:
    """What a requeue came to: "4,080 succeeded, 22 failed again"."""
    words = {Effect.SUCCEEDED: "succeeded", Effect.FAILED_AGAIN: "failed again", Effect.UNKNOWN: "unknown"}
    return ", ".join(f"{count(effects[effect])} {word}" for effect, word in words.items() if effects.get(effect))
