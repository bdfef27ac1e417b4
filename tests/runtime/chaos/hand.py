"""A person at the console: reads what to do from standard input, one JSON object a line, and answers in one line each.

A process of its own, over the same database as the controller. ``do``: create (``slug``, ``spec``; answers the uid),
scale (``slug``, ``workers``), pause and resume (``slug``). What is refused is answered as ``refused``.
"""

import json
import sys
from typing import Any

import django


def main() -> None:
    django.setup()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(order: dict[str, Any]) -> dict[str, str]:
    from pools.operations.errors import OperationError

    try:
        return {"done": _do(**order)}
    except OperationError as error:
        return {"refused": str(error)}


def _do(do: str, slug: str, **told: Any) -> str:
    from audit.actor import system_actor
    from pools.models import Pool, Team
    from pools.operations import pool_create, pool_pause, pool_resume, pool_scale
    from pools.spec import parse_spec

    who: dict[str, Any] = {"actor": system_actor("chaos")}
    if do == "create":
        team, _ = Team.objects.get_or_create(slug="chaos", defaults={"name": "Chaos"})
        spec = parse_spec(told["spec"])
        made = pool_create(slug=slug, name=slug, environment="test", team=team, spec=spec, message="Chaos", **who)
        return str(made.uid)
    pool = Pool.objects.get(slug=slug)
    if do == "scale":
        pool_scale(pool=pool, workers=told["workers"], reason="Chaos", **who)
    else:
        {"pause": pool_pause, "resume": pool_resume}[do](pool=pool, reason="Chaos", **who)
    return slug


if __name__ == "__main__":
    main()
