"""Breakers that opened or closed by themselves since the look before: events, so that nobody has to have watched."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from audit.actor import system_actor
from audit.recorder import record
from pools.models import PoolNow

TRIPPED = {"open", "half_open"}


def record_turns(rows: Sequence[PoolNow]) -> None:
    """In the transaction that keeps ``rows``, before it does. What a person ordered has an event of its own.

    One that opens and closes between two looks is not seen. One query where pools have breakers.
    """
    watched = {row.pool_id: row for row in rows if row.gates.get("breakers")}
    if not watched:
        return
    before = dict(PoolNow.objects.filter(pool__in=watched).values_list("pool_id", "gates"))
    for pool_id, row in watched.items():
        for action, name, since in _turns(before.get(pool_id, {}).get("breakers", {}), row.gates["breakers"]):
            told = {"breaker": name, "since": datetime.fromtimestamp(since, UTC).isoformat()}
            record(actor=system_actor("controller"), action=action, target=row.pool.target, detail=told)


def _turns(before: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    for name, told in now.items():
        known = before.get(name, {"state": "closed", "generation": told["generation"]})
        same = known["generation"] == told["generation"]
        if told["state"] in TRIPPED and not (same and known["state"] in {*TRIPPED, "held"}):
            yield "breaker.tripped", name, told["since"]
        elif known["state"] in TRIPPED and told["state"] == "closed" and same and told["since"] >= known["since"]:
            yield "breaker.recovered", name, told["since"]
