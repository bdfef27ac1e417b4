"""A sentence before a failure's text: what the pool's policy did about it. The console takes it off again.

Standard library only: workers and the console share it.
"""

NOTE = "Poolwarden: "


def noted(note: str, printed: str) -> str:
    """``printed`` with ``note`` before it, as a paragraph of its own; unchanged for no note."""
    return f"{NOTE}{note}\n\n{printed}" if note else printed
