"""Reading the log in a test."""

from audit.models import Event


def recent_actions(count: int) -> list[tuple[str, str, str]]:
    """The newest events, newest first: (action, outcome, target's name)."""
    return list(Event.objects.order_by("-id").values_list("action", "outcome", "target_name")[:count])
