"""The actor behind a request."""

from django.http import HttpRequest

from audit.actor import Actor
from controlplane.http import request_context, session_digest


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in person, with the request's id, address and session. Only for views that need a signed-in user."""
    context, user = request_context(request), request.user
    return Actor(
        kind="user",
        id=str(user.pk),
        name=user.get_username(),
        request_id=context.request_id,
        address=context.address,
        session=session_digest(request),
        user=user,
    )
