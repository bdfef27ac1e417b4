"""Making, changing, pausing, resuming, draining and scaling a pool."""

from collections.abc import Iterable

from django.conf import settings
from django.core.exceptions import ValidationError

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.arguments import problem_of
from pools.models import ConfigVersion, Criticality, Pool, PoolKind, RunCommand, RunState, Team
from pools.operations.base import clean_reason, expect, locked
from pools.operations.config import add_version
from pools.operations.errors import Refused
from pools.operations.run_state import issue
from pools.permissions import APPROVE_OPERATIONS, CONFIG, CONTROL, SCALE, grant_team, require, require_for_team
from pools.selectors.config import newest_spec
from pools.spec import PoolSpec

RESERVED_SLUGS = {"attached", "console"}  # the controller's own: unclaimed queues, and the console's jobs
POOL_DESCRIPTION = (
    "name",
    "description",
    "runbook_url",
    "criticality",
    "approval_limit",
    "poison_after",
    "searchable_arguments",
)


@operation("pool.created")
def pool_create(
    *,
    actor: Actor,
    slug: str,
    name: str,
    environment: str,
    team: Team,
    spec: PoolSpec,
    message: str = "",
    description: str = "",
    runbook_url: str = "",
    criticality: str = Criticality.STANDARD,
    approval_limit: int | None = None,
) -> Pool:
    """Make a managed pool with its first config version. Raises ``Denied``, ``Refused``."""
    require_for_team(actor, "pools.add_pool", team)
    if environment != settings.POOLWARDEN_ENV:
        raise Refused("environment", f"This console runs {settings.POOLWARDEN_ENV}; nothing was made.")
    if slug in RESERVED_SLUGS:
        raise Refused("slug", f"{slug} is the name of a pool of the console's own. Nothing was made.")
    pool = Pool(
        slug=slug,
        name=name or slug,
        environment=environment,
        team=team,
        description=description,
        runbook_url=runbook_url,
        criticality=criticality,
        approval_limit=approval_limit,
    )
    _validate(pool)
    pool.save()
    grant_team(pool)
    record(actor=actor, action="pool.created", target=pool.target, after=_described(pool) | {"team": team.slug})
    add_version(actor=actor, pool=pool, spec=spec, message=message or "First version")
    return pool


@operation("pool.changed")
def pool_change(
    *,
    actor: Actor,
    pool: Pool,
    expected_version: int | None,
    name: str,
    description: str,
    runbook_url: str,
    criticality: str,
    poison_after: int,
    approval_limit: int | None = None,
    searchable_arguments: Iterable[str] = (),
) -> Pool:
    """Change what describes a pool, not what it runs. ``expected_version`` is ``Pool.revision``.

    Letting one person do more than before takes the right to approve as well.
    """
    pool = locked(actor, pool)
    require(actor, CONFIG, pool)
    expect(pool.revision, expected_version, pool.slug)
    before, limit = _described(pool), pool.approved_above
    pool.name, pool.description, pool.runbook_url, pool.criticality = name, description, runbook_url, criticality
    pool.approval_limit = approval_limit
    pool.poison_after = poison_after
    pool.searchable_arguments = _paths(searchable_arguments)
    _validate(pool)
    if limit is not None and (pool.approved_above is None or pool.approved_above > limit):
        require(actor, APPROVE_OPERATIONS, pool)
    after = _described(pool)
    if after == before:
        return pool
    pool.revision += 1
    pool.save()
    record(actor=actor, action="pool.changed", target=pool.target, before=before, after=after)
    return pool


@operation("pool.paused")
def pool_pause(*, actor: Actor, pool: Pool, reason: str, expected_version: int | None = None) -> RunCommand:
    """Workers stay and take no new job; the running ones finish. ``expected_version`` is ``Pool.generation``."""
    return _command(actor, pool, RunState.PAUSED, "pool.paused", reason, expected_version)


@operation("pool.resumed")
def pool_resume(*, actor: Actor, pool: Pool, reason: str, expected_version: int | None = None) -> RunCommand:
    """Workers take jobs again; drained ones are started again."""
    return _command(actor, pool, RunState.RUNNING, "pool.resumed", reason, expected_version)


@operation("pool.drained")
def pool_drain(*, actor: Actor, pool: Pool, reason: str, expected_version: int | None = None) -> RunCommand:
    """Running jobs finish, then the workers leave."""
    return _command(actor, pool, RunState.DRAINING, "pool.drained", reason, expected_version)


@operation("pool.scaled")
def pool_scale(
    *, actor: Actor, pool: Pool, workers: int, reason: str, expected_version: int | None = None
) -> ConfigVersion:
    """A config version that differs only in ``workers`` (an agent). ``expected_version`` is ``Pool.config_number``."""
    pool = locked(actor, pool)
    require(actor, SCALE, pool)
    reason = clean_reason(reason)
    expect(pool.config_number, expected_version, f"The config of {pool.slug}")
    current = newest_spec(pool)
    if current is None:
        raise Refused("workers", f"{pool.slug} has no config to scale. Nothing was changed.")
    if not 0 <= workers <= 512:
        raise Refused("workers", "The number of workers must be from 0 to 512. Nothing was changed.")
    if workers == current.workers:
        raise Refused("workers", f"{pool.slug} already asks for {workers} workers an agent. Nothing was changed.")
    version = add_version(actor=actor, pool=pool, spec=current.model_copy(update={"workers": workers}), message=reason)
    record(
        actor=actor,
        action="pool.scaled",
        target=pool.target,
        before={"workers": current.workers},
        after={"workers": workers, "version": version.number},
        reason=reason,
    )
    return version


def _command(
    actor: Actor, pool: Pool, state: RunState, action: str, reason: str, expected_version: int | None
) -> RunCommand:
    pool = locked(actor, pool)
    require(actor, CONTROL, pool)
    reason = clean_reason(reason)
    if pool.kind != PoolKind.MANAGED:
        raise Refused("", f"{pool.slug} is not managed: its workers obey no agent. Nothing was changed.")
    expect(pool.generation, expected_version, f"The run state of {pool.slug}")
    if pool.run_state == state:
        raise Refused("", f"{pool.slug} is {pool.get_run_state_display().lower()} already. Nothing was changed.")
    before, pool.run_state = pool.run_state, state
    command = issue(actor, pool, reason)
    record(
        actor=actor,
        action=action,
        target=pool.target,
        before={"run_state": before},
        after={"run_state": str(state), "generation": pool.generation},
        reason=reason,
    )
    return command


def _paths(wanted: Iterable[str]) -> list[str]:
    """Each once. Raises ``Refused``."""
    paths = list(dict.fromkeys(path.strip() for path in wanted))
    if problem := problem_of(paths):
        raise Refused("searchable_arguments", f"{problem} Nothing was changed.")
    return paths


def _described(pool: Pool) -> dict[str, str]:
    """An approval limit that is left to the criticality is empty."""
    values = {name: getattr(pool, name) for name in POOL_DESCRIPTION}
    values["searchable_arguments"] = ", ".join(pool.searchable_arguments)
    return {name: "" if value is None else str(value) for name, value in values.items()}


def _validate(pool: Pool) -> None:
    try:
        pool.full_clean(exclude=["team", "queues"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Refused("" if field == "__all__" else field, f"{messages[0]} Nothing was changed.") from error
