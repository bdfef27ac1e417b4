"""Why a message did not arrive this time."""


class Undeliverable(Exception):
    """In words for the people who see the channel: without secrets, and without what the other side answered."""
