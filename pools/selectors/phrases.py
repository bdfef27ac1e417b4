"""Small pieces of sentences that several selectors build."""

from controlplane.wording import count


def jobs(number: int) -> str:
    """``1 job``, ``4,102 jobs``."""
    return f"{count(number)} {'job' if number == 1 else 'jobs'}"


def names(values: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and 3 more``."""
    if len(values) > 2:
        return f"{values[0]}, {values[1]} and {len(values) - 2} more"
    return " and ".join(values)
