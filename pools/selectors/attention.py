"""What needs a person now: sentences with something to do, the worst first. Everything else stays quiet."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils import timezone

from pools.models import AgentPool, PoolKind, RunState
from pools.selectors.fleet import Presence
from pools.selectors.gates import MARKS, WORDS, not_closed
from pools.selectors.phrases import jobs, names
from pools.selectors.refusals import refusal_sentence

SETTLING = timedelta(seconds=30)  # a new version takes this long to be taken up everywhere
SIGNING = timedelta(seconds=10)
GONE_FOR_GOOD = timedelta(hours=24)
ALTERED_LATELY = timedelta(hours=24)
SEVERITIES = ("bad", "warn", "info")


@dataclass(frozen=True)
class Action:
    label: str
    url: str
    primary: bool = False


@dataclass(frozen=True)
class Item:
    """``since`` is shown as "``since_label`` 12 min ago." before ``detail``. ``info`` items are the quieter notices."""

    key: str
    severity: str
    icon: str
    icon_label: str
    title: str
    detail: str = ""
    since: datetime | None = None
    since_label: str = ""
    actions: tuple[Action, ...] = ()
    spark: tuple[int, ...] = ()
    spark_label: str = ""


def attention(presences: list[Presence]) -> list[Item]:
    """What pools, agents and configs ask for. Failures and the sampler's own health are added by the overview."""
    items: list[Item] = []
    for presence in presences:
        items += _refused(presence) + _altered(presence) + _not_starting(presence) + _stranded(presence)
        items += _breakers(presence)
        items += _drift(presence) + _unsigned(presence) + _unapplied(presence) + _by_hand(presence)
    return by_severity(items + _gone_agents(presences))


def by_severity(items: list[Item]) -> list[Item]:
    return sorted(items, key=lambda item: SEVERITIES.index(item.severity))


def agent_url(name: str) -> str:
    return f"{reverse('agents')}#agent-{name}"


def _refused(presence: Presence) -> list[Item]:
    return [
        Item(
            key=f"refused-{serving.pk}",
            severity="bad",
            icon="ban",
            icon_label="Refused",
            title=f"Agent {serving.agent} refuses {_version(serving)} of {presence.pool}",
            since=serving.refused_at,
            since_label="Refused",
            detail=f"Because {refusal_sentence(serving.refused_code)}{_said(serving)}. {_keeps(serving)}",
            actions=(Action(f"See why {serving.agent} refuses", agent_url(serving.agent.name)),),
        )
        for serving in presence.refusing
    ]


def _version(serving: AgentPool) -> str:
    return f"v{serving.refused_version}" if serving.refused_version else "the config"


def _said(serving: AgentPool) -> str:
    """The agent's own words, which may say which field or which file."""
    return f": {serving.refused_detail[:200].rstrip('.')}" if serving.refused_detail else ""


def _keeps(serving: AgentPool) -> str:
    return f"It keeps running v{serving.running}, the last it verified." if serving.running else "It runs nothing."


def _altered(presence: Presence) -> list[Item]:
    """Somebody else writes to the broker. Agents refused it and it is put back; who it was is to be found out."""
    pool = presence.pool
    if not _younger(pool.altered_at, ALTERED_LATELY):
        return []
    return [
        Item(
            key=f"altered-{pool.pk}",
            severity="bad",
            icon="alert-triangle",
            icon_label="Altered",
            title=f"Somebody altered on the broker what agents of {pool} are told",
            since=pool.altered_at,
            since_label="Put back",
            detail="Agents run nothing that is not signed. Find out who else can write to Redis.",
            actions=(Action("See what was found", f"{reverse('audit:timeline')}?action=config.altered&pool={pool}"),),
        )
    ]


def _not_starting(presence: Presence) -> list[Item]:
    failing = presence.not_starting
    if not failing:
        return []
    last = failing[0].boot_failure.strip().splitlines()[-1:] or ["It said nothing"]
    return [
        Item(
            key=f"boot-{presence.pool.pk}",
            severity="bad",
            icon="alert-triangle",
            icon_label="Cannot start",
            title=f"{presence.pool}: workers cannot start on {names([serving.agent.name for serving in failing])}",
            since=failing[0].boot_failed_at,
            since_label="Last tried",
            detail=f"The last line it wrote: {last[0][:200]}",
            actions=(Action("See what it wrote", agent_url(failing[0].agent.name)),),
        )
    ]


def _stranded(presence: Presence) -> list[Item]:
    """Jobs wait and nobody is there to take them."""
    pool = presence.pool
    if not presence.waiting or presence.workers or pool.run_state != RunState.RUNNING:
        return []
    gone = presence.gone[-1] if presence.gone and not presence.live else None
    see = Action(f"See agent {gone.agent}", agent_url(gone.agent.name)) if gone else _see(presence)
    return [
        Item(
            key=f"stranded-{pool.pk}",
            severity="bad",
            icon="user-off",
            icon_label="No workers",
            title=f"{pool} has {jobs(presence.waiting)} waiting and no workers",
            since=gone.agent.last_seen if gone else None,
            since_label=f"Its agent {gone.agent} was last heard" if gone else "",
            detail=_why_stranded(presence),
            actions=(see,),
        )
    ]


def _why_stranded(presence: Presence) -> str:
    if presence.pool.kind != PoolKind.MANAGED:
        return "No stock worker listens to its queues. The jobs stay where they are."
    if presence.not_starting or presence.refusing:
        return "Its agents are there, and cannot start workers. The jobs stay where they are."
    if presence.live:
        return "Its agents are there; see whether its config asks for workers. The jobs stay where they are."
    return "The jobs stay where they are." if presence.gone else "No agent serves it. The jobs stay where they are."


def _breakers(presence: Presence) -> list[Item]:
    """What a pool depends on is down, or somebody says so."""
    pool = presence.pool
    return [
        Item(
            key=f"breaker-{pool.pk}-{line.name}",
            severity="info" if line.state == "held" else "bad",
            icon=MARKS[line.state][1],
            icon_label=WORDS[line.state],
            title=f"{pool}: breaker {line.name} is {WORDS[line.state].lower()}",
            since=line.since,
            since_label="Since",
            detail=f"Jobs of {names(line.tasks)} wait until {line.until}.",
            actions=(Action(f"See breaker {line.name}", f"{_url(presence)}#h-breakers"),),
        )
        for line in not_closed(presence.now)
    ]


def _drift(presence: Presence) -> list[Item]:
    """Workers that still run another version, once it had time to arrive. A refusal says it better."""
    told, drift = presence.published, presence.drift
    if not drift or told is None or presence.refusing or _younger(told.signed_at, SETTLING):
        return []
    wrong = sum(drift.values())
    older = " and ".join(f"v{number}" for number in sorted(drift))
    return [
        Item(
            key=f"drift-{presence.pool.pk}",
            severity="warn",
            icon="git-compare",
            icon_label="Drift",
            title=f"{presence.pool}: {wrong} of {wrong + presence.attesting} workers still run {older}, "
            f"though told v{told.number}",
            since=told.signed_at,
            since_label=f"v{told.number} was published",
            detail="A worker changes over when its running job has ended.",
            actions=(Action(f"See the {wrong} workers", f"{_url(presence)}?workers=drifting#workers"),),
        )
    ]


def _unsigned(presence: Presence) -> list[Item]:
    newest, pool = presence.newest, presence.pool
    if newest is None or pool.config_number <= pool.published_number or _younger(newest.at, SIGNING):
        return []
    runs = (
        f"Agents go on with v{pool.published_number}." if pool.published_number else "Agents have nothing to run yet."
    )
    return [
        Item(
            key=f"unsigned-{pool.pk}",
            severity="warn",
            icon="signature",
            icon_label="Not signed",
            title=f"v{newest.number} of {pool} is not signed yet",
            since=newest.at,
            since_label=f"{newest.author} published it",
            detail=f"The controller signs within seconds when it runs. {runs}",
            actions=(Action(f"Review v{newest.number}", reverse("config-version", args=[pool.slug, newest.number])),),
        )
    ]


def _unapplied(presence: Presence) -> list[Item]:
    """A pause, resume or drain that an agent did not follow in time."""
    command, late = presence.command, len(presence.live) - len(presence.applied)
    if command is None or not late or command.deadline > timezone.now():
        return []
    state, live = command.get_state_display(), len(presence.live)
    silent = [serving.agent.name for serving in presence.live if serving not in presence.applied]
    return [
        Item(
            key=f"unapplied-{presence.pool.pk}",
            severity="warn",
            icon="hourglass",
            icon_label="Not applied",
            title=f"{presence.pool}: {late} of {live} agents did not follow “{state}”",
            since=command.issued_at,
            since_label=f"{command.issued_by} asked for it",
            detail=f"Not heard from {names(silent)}.",
            actions=(Action(f"See agent {silent[0]}", agent_url(silent[0])),),
        )
    ]


def _by_hand(presence: Presence) -> list[Item]:
    pool, command = presence.pool, presence.command
    if pool.run_state == RunState.RUNNING or command is None:
        return []
    paused = pool.run_state == RunState.PAUSED
    return [
        Item(
            key=f"state-{pool.pk}",
            severity="info",
            icon="player-pause" if paused else "droplet-half",
            icon_label=pool.get_run_state_display(),
            title=f"{pool} is {pool.get_run_state_display().lower()}, with {jobs(presence.waiting)} waiting",
            since=command.issued_at,
            since_label=f"{command.issued_by} asked for it",
            detail=f"“{command.reason}”",
            actions=(_see(presence),),
        )
    ]


def _gone_agents(presences: list[Presence]) -> list[Item]:
    """One item an agent, unless a stranded pool names it already."""
    told = {presence.gone[-1].agent_id for presence in presences if _stranded(presence) and presence.gone}
    served: dict[int, list[tuple[Presence, AgentPool]]] = {}
    for presence in presences:
        for serving in presence.gone:
            served.setdefault(serving.agent_id, []).append((presence, serving))
    items = []
    for agent_id, places in served.items():
        agent = places[0][1].agent
        if agent_id in told or not _younger(agent.gone_at, GONE_FOR_GOOD):
            continue
        alone = [str(presence.pool) for presence, _ in places if not presence.live]
        items.append(
            Item(
                key=f"gone-{agent_id}",
                severity="bad" if alone else "warn",
                icon="server-off",
                icon_label="Agent gone",
                title=f"Agent {agent} is gone",
                since=agent.last_seen,
                since_label="Last heard",
                detail=f"It served {names([str(presence.pool) for presence, _ in places])}. "
                + (f"{names(alone)} has no other agent." if alone else "Other agents go on."),
                actions=(Action(f"See agent {agent}", agent_url(agent.name)),),
            )
        )
    return items


def _see(presence: Presence) -> Action:
    return Action(f"See {presence.pool}", _url(presence))


def _url(presence: Presence) -> str:
    return reverse("pool", args=[presence.pool.slug])


def _younger(moment: datetime | None, age: timedelta) -> bool:
    return moment is not None and timezone.now() - moment < age
