"""The JSON Schema in docs/ is what the code says today, and it accepts what the code accepts."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_exported_schema_is_current() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "pools.spec"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "pool-spec.schema.json").read_text() == printed
    schema = json.loads(printed)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"queues", "workers"}
