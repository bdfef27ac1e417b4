"""``python -m pools.spec`` prints the JSON Schema of a pool's spec; ``docs/pool-spec.schema.json`` is its output."""

import json
import sys

from pools.spec import json_schema

sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
