"""What a claim weighs, as the pool's signed spec says it. Pure; lua/claim_by_rules.lua acts on it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rules:
    """``weights``: queue name → 1 to 100, and 1 for a queue that is not named; empty: queues in their order."""

    weights: dict[str, int] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the plain claim script is enough, which weighs nothing."""
        return not self.weights

    def told(self, queues: Sequence[str]) -> str:
        """For the script: JSON whose lists are in the order of ``queues``."""
        weights = [self.weights.get(queue, 1) for queue in queues] if self.weights else []
        return json.dumps({"weights": weights})

    @classmethod
    def read(cls, data: dict[str, Any]) -> "Rules":
        return cls(weights=data["weights"])


PLAIN = Rules()
