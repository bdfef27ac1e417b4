"""What can be done to a pool now: each verb with what it would touch, in words, and whether the actor may."""

from dataclasses import dataclass

from django.urls import reverse

from pools.models import Pool, RunState
from pools.permissions import CONTROL, SCALE
from pools.selectors.config import newest_spec
from pools.selectors.fleet import Presence
from pools.selectors.phrases import counted, jobs
from pools.selectors.rights import Right

ICONS = {"pause": "player-pause", "resume": "player-play", "drain": "droplet-half", "scale": "adjustments"}
DOING = {"pause": "pausing", "resume": "resuming", "drain": "draining", "scale": "scaling"}
OFFERED = {
    RunState.RUNNING: ("pause", "drain", "scale"),
    RunState.PAUSED: ("resume", "drain", "scale"),
    RunState.DRAINING: ("resume", "pause", "scale"),
}


@dataclass(frozen=True)
class Verb:
    """``says``: what it will touch, with the figures of this moment; ``version``: what the visitor saw."""

    key: str
    button: str
    says: str
    version: int
    url: str
    right: Right
    workers: int

    @property
    def icon(self) -> str:
        return ICONS[self.key]


def verbs_of(presence: Presence, rights: dict[str, Right]) -> dict[str, Verb]:
    """All four. ``rights`` holds those of ``CONTROL`` and ``SCALE``."""
    pool, spec = presence.pool, newest_spec(presence.pool)
    asks = spec.workers if spec else 0
    sentences = _sentences(presence, asks)
    return {
        key: Verb(
            key=key,
            button=f"Drain {counted(presence.workers, 'worker')}"
            if key == "drain"
            else f"{key.capitalize()} {pool.slug}",
            says=sentences[key],
            version=pool.config_number if key == "scale" else pool.generation,
            url=reverse(f"pool-{key}", args=[pool.slug]),
            right=rights[SCALE if key == "scale" else CONTROL],
            workers=asks,
        )
        for key in DOING
    }


def _sentences(presence: Presence, asks: int) -> dict[str, str]:
    running = f"{jobs(presence.now.busy if presence.now else 0)} running now"
    waiting, agents = jobs(presence.waiting), len(presence.live)
    staff = f"{counted(presence.workers, 'worker')} on {counted(agents, 'agent')}"
    each = f"Each of {agents} agents keeps" if agents > 1 else "An agent keeps"
    return {
        "pause": f"{staff} take no new job; {running} go on to their end. "
        f"{waiting} stay in the queues until somebody resumes the pool.",
        "resume": f"Workers take jobs again: {waiting} waiting now.",
        "drain": f"{running} go on to their end, then {staff} leave. "
        f"{waiting} stay in the queues; resuming starts the workers again.",
        "scale": f"{each} {counted(asks, 'worker')} running now. "
        f"The new number is v{presence.pool.config_number + 1} of the config, which differs in nothing else.",
    }


def offered(pool: Pool, verbs: dict[str, Verb]) -> list[Verb]:
    """Those that make sense in the pool's run state; none for a pool that no agent drives."""
    return [verbs[key] for key in OFFERED[RunState(pool.run_state)]] if pool.is_managed else []


def lacking(verbs: list[Verb]) -> list[tuple[Right, str]]:
    """Each right that is missing, with what it would allow: "Pausing or draining"."""
    missing: dict[Right, list[str]] = {}
    for verb in verbs:
        if not verb.right.allowed:
            missing.setdefault(verb.right, []).append(DOING[verb.key])
    return [(right, " or ".join(doing).capitalize()) for right, doing in missing.items()]
