"""Config versions: publish, go back, renew. A version is a new row; nothing is ever edited."""

from django.utils import timezone

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.models import ConfigState, ConfigVersion, Pool, PoolKind, SecretReference
from pools.operations.base import append_outbox, clean_reason, expect, locked
from pools.operations.errors import Refused
from pools.permissions import CONFIG, require, visible_pools
from pools.selectors.config import newest_spec, spec_of
from pools.spec import PoolSpec, canonical, diff


@operation("config.published")
def config_publish(
    *, actor: Actor, pool: Pool, spec: PoolSpec, message: str, expected_version: int | None
) -> ConfigVersion:
    """Make the next version of a pool's config; the controller signs and publishes it.

    ``expected_version`` is the version that the author saw (``Pool.config_number``). Raises ``Denied``, ``Refused``,
    ``Conflict``.
    """
    pool = locked(actor, pool)
    require(actor, CONFIG, pool)
    message = clean_reason(message, "message")
    expect(pool.config_number, expected_version, f"The config of {pool.slug}")
    current = newest_spec(pool)
    if current is not None and canonical(current) == canonical(spec):
        raise Refused("", f"This is what v{pool.config_number} says already. Nothing was changed.")
    return add_version(actor=actor, pool=pool, spec=spec, message=message)


@operation("config.published")
def config_restore(
    *, actor: Actor, pool: Pool, number: int, message: str, expected_version: int | None
) -> ConfigVersion:
    """Go back to what version ``number`` said, as a new version."""
    pool = locked(actor, pool)
    require(actor, CONFIG, pool)
    message = clean_reason(message, "message")
    expect(pool.config_number, expected_version, f"The config of {pool.slug}")
    old = ConfigVersion.objects.filter(pool=pool, number=number).first()
    if old is None:
        raise Refused("number", f"{pool.slug} has no v{number}. Nothing was changed.")
    spec, current = spec_of(old), newest_spec(pool)
    if current is not None and canonical(current) == canonical(spec):
        raise Refused("", f"v{pool.config_number} says the same as v{number}. Nothing was changed.")
    return add_version(actor=actor, pool=pool, spec=spec, message=message, restored_from=number)


@operation("config.renewed")
def config_renew(*, actor: Actor, pool: Pool) -> ConfigVersion:
    """The same config as a new version, before the signature of the last one expires. For the controller."""
    pool = locked(actor, pool)
    require(actor, CONFIG, pool)
    spec = newest_spec(pool)
    if spec is None:
        raise Refused("", f"{pool.slug} has no config to renew.")
    message = f"Renewed: the signature of v{pool.config_number} was about to expire"
    version = add_version(actor=actor, pool=pool, spec=spec, message=message, restored_from=pool.config_number)
    record(actor=actor, action="config.renewed", target=pool.target, after={"version": version.number})
    return version


def add_version(
    *, actor: Actor, pool: Pool, spec: PoolSpec, message: str, restored_from: int | None = None
) -> ConfigVersion:
    """Append a version to a pool whose row the caller holds locked. The permission was checked by the caller."""
    if pool.kind != PoolKind.MANAGED:
        raise Refused("", f"{pool.slug} is not managed: it has no config. Nothing was changed.")
    previous = newest_spec(pool)
    _refuse_shared_queues(actor, pool, spec)
    version = ConfigVersion.objects.create(
        pool=pool,
        number=pool.config_number + 1,
        spec=canonical(spec),
        secrets=_references(spec),
        message=message,
        restored_from=restored_from,
        author=actor.user,
        author_name=actor.label,
        state=ConfigState.APPROVED,
    )
    pool.config_number = version.number
    pool.revision += 1
    pool.queues = list(spec.queues)
    pool.save(update_fields=["config_number", "revision", "queues"])
    changes = diff(previous, spec)
    record(
        actor=actor,
        action="config.published",
        target=pool.target,
        before={change.path: change.before for change in changes} if previous else None,
        after={change.path: change.after for change in changes},
        reason=message,
        detail={"version": version.number, "restored_from": restored_from, "at": timezone.now().isoformat()},
    )
    append_outbox("config", f"{pool.slug}:{version.number}", broker=pool.broker)
    return version


def _references(spec: PoolSpec) -> dict[str, str]:
    found = dict(SecretReference.objects.filter(name__in=spec.secrets).values_list("name", "uri"))
    missing = [name for name in spec.secrets if name not in found]
    if missing:
        raise Refused("secrets", f"No secret is registered as {', '.join(missing)}. Nothing was changed.")
    return found


def _refuse_shared_queues(actor: Actor, pool: Pool, spec: PoolSpec) -> None:
    """A queue belongs to one pool: permissions, figures and dead letters follow it."""
    visible = set(visible_pools(actor).values_list("slug", flat=True))
    others = Pool.objects.filter(broker=pool.broker, kind=PoolKind.MANAGED).exclude(pk=pool.pk)
    for slug, queues in others.values_list("slug", "queues"):
        shared = sorted(set(queues) & set(spec.queues))
        if shared:
            owner = f"the pool {slug}" if slug in visible else "another pool"
            raise Refused("queues", f"{', '.join(shared)} belongs to {owner}. Nothing was changed.")
    if "console" in spec.queues:
        raise Refused("queues", "console is the queue of the console's own jobs. Nothing was changed.")
