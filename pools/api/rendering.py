"""JSON as the API writes it: times are RFC 3339 in UTC with microseconds, in every answer alike."""

import json
from datetime import datetime
from typing import Any

from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder
from pydantic import BaseModel

from audit.recorder import rfc3339


class Encoder(NinjaJSONEncoder):
    def default(self, o: Any) -> Any:
        return rfc3339(o) if isinstance(o, datetime) else super().default(o)


class Renderer(JSONRenderer):
    encoder_class = Encoder


def as_json(answer: BaseModel) -> dict[str, Any]:
    """The answer as plain JSON values, ready to be stored or sent."""
    plain: dict[str, Any] = json.loads(json.dumps(answer.model_dump(), cls=Encoder))
    return plain
