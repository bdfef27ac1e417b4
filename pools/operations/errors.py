"""Why an operation did not happen. ``pools.permissions.Denied`` is the third reason."""


class OperationError(Exception):
    """The root: nothing was changed."""


class Refused(OperationError):
    """The input or the state of things does not allow it. ``field`` names what to mend; empty for the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Conflict(OperationError):
    """Someone else changed the object after the caller looked at it. ``current``: the number that is true now, if it
    is about one."""

    def __init__(self, message: str, current: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.current = current
