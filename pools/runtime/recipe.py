"""What a process is told at its start, from a verified config: standard input, environment, interpreter, folder."""

import hashlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from pools.runtime import ringer
from pools.runtime.delivery import DeliveryRule
from pools.runtime.options import Options
from pools.runtime.refusals import Admission
from pools.runtime.retry import RetryRule
from pools.runtime.retry_budget import RetryBudget
from pools.runtime.rules import Rules
from pools.runtime.sandbox.limits import Isolation
from pools.runtime.worker_config import Lost, SecretAccess, WorkerConfig
from pools.signing import VerifiedConfig
from pools.spec import PoolSpec

LAUNCHER = Path(__file__).with_name("launch.py")
# What every program needs. Everything else a worker inherits only when the signed spec names it.
BASE_ENVIRONMENT = ("PATH", "HOME", "LANG", "TZ", "RQ_KEY_PREFIX")
# The agent's own settings, the broker's password among them, are not for the application.
OWN_PREFIX = "POOLWARDEN_"


def build(config: VerifiedConfig[PoolSpec]) -> str:
    """Names all that a worker is told at its start: two versions with one build need no restart between them."""
    told = config.spec.as_dict()
    for by_agent in ("workers", "stop_grace", "placement", "cron"):
        del told[by_agent]
    told["references"] = config.payload.secrets
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def command(spec: PoolSpec) -> list[str]:
    return [spec.application.interpreter or sys.executable, str(LAUNCHER)]


def environment(spec: PoolSpec, environ: Mapping[str, str]) -> dict[str, str]:
    names = [*BASE_ENVIRONMENT, *(name for name in spec.environment if not name.startswith(OWN_PREFIX))]
    return {name: environ[name] for name in names if name in environ} | {"PYTHONUNBUFFERED": "1"}


def worker(options: Options, config: VerifiedConfig[PoolSpec], name: str, channel: Path) -> WorkerConfig:
    return _told(options, config, purpose="work", name=name, channel=channel, lost=[], tidy=False)


def upkeep(
    options: Options, config: VerifiedConfig[PoolSpec], name: str, channel: Path, *, lost: list[Lost], tidy: bool
) -> WorkerConfig:
    return _told(options, config, purpose="upkeep", name=name, channel=channel, lost=lost, tidy=tidy)


def _told(
    options: Options,
    config: VerifiedConfig[PoolSpec],
    *,
    purpose: str,
    name: str,
    channel: Path,
    lost: list[Lost],
    tidy: bool,
) -> WorkerConfig:
    spec = config.spec
    return WorkerConfig(
        purpose=purpose,
        redis_url=options.worker_url(config.payload.pool),
        worker=name,
        agent=options.name,
        agent_pid=os.getpid(),
        host=socket.gethostname(),
        pool_uid=config.payload.pool_uid,
        pool=config.payload.pool,
        config=config.version,
        channel=str(channel),
        bell=str(ringer.path(options.state, config.payload.pool_uid)),
        preload=spec.application.preload,
        queues=spec.queues,
        job_timeout=spec.job_timeout,
        result_ttl=spec.result_ttl,
        failure_ttl=spec.failure_ttl,
        serializer=spec.serializer,
        horse_jobs=spec.horse.jobs,
        admission=Admission(**spec.admission.model_dump()),
        retry=[RetryRule.read(rule.model_dump()) for rule in spec.retry],
        policies=[DeliveryRule(**policy.model_dump()) for policy in spec.policies],
        isolation=Isolation(**spec.isolation.model_dump()),
        job_user=options.job_user,
        rules=Rules.read(spec.model_dump(include={"weights", "breakers", "limits", "policies"})),
        retry_budget=RetryBudget(**spec.retry_budget.model_dump()),
        secrets=_secrets(options, config),
        lost=lost,
        tidy=tidy,
    )


def _secrets(options: Options, config: VerifiedConfig[PoolSpec]) -> SecretAccess:
    """The listed names' references, and the values of those that lie in this agent's environment and are allowed."""
    references = {name: uri for name, uri in config.payload.secrets.items() if name in config.spec.secrets}
    access = SecretAccess(references, options.secret_prefixes, {})
    for uri in references.values():
        name = uri.removeprefix("env://")
        given = uri.startswith("env://") and access.allows(uri) and not name.startswith(OWN_PREFIX)
        if given and name in os.environ:
            access.environment[name] = os.environ[name]
    return access
