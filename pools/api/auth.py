"""Bearer tokens become actors."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from audit.actor import Actor
from controlplane.http import request_context
from controlplane.tokens import find_token, record_use


class BearerToken(HttpBearer):
    """The token's user acts, and the event says that it was by token."""

    def authenticate(self, request: HttpRequest, token: str) -> Actor | None:
        found = find_token(token)
        if found is None:
            return None
        context = request_context(request)
        actor = Actor(
            kind="token",
            id=str(found.pk),
            name=found.user.get_username(),
            request_id=context.request_id,
            address=context.address,
            user=found.user,
        )
        record_use(found, actor)
        return actor


def actor(request: HttpRequest) -> Actor:
    """The authenticated actor of an API request."""
    found: Actor = request.auth  # type: ignore[attr-defined]
    return found
