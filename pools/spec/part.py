"""What every part of a spec is: strict about types, closed to unknown fields, never changed."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
