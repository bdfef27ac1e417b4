"""Request bodies: JSON, and said to be JSON."""

import json
from typing import Any

from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.parser import Parser


class BodyParser(Parser):
    """ninja turns whatever this raises into its own 400 and keeps it as the cause; ``problems`` answers the cause."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise HttpError(415, "Send the body as Content-Type: application/json. Nothing was changed.")
        try:
            body: dict[str, Any] = json.loads(request.body)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, f"The body is not JSON: {error}. Nothing was changed.") from error
        return body
