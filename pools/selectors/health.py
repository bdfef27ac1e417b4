"""Whether the control plane can do its work, and its figures for Prometheus. Read from SQL alone."""

from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from audit.health import LogHealth, log_health
from audit.selectors import log_state
from pools.models import Agent, BrokerState, ControllerLease, OutboxMessage, PoolNow
from pools.selectors.notifications import undelivered

MAX_SAMPLE_AGE = 15.0  # seconds; the sampler's interval is 2 s


@dataclass
class Health:
    """``ready`` says whether every part answered; ``problems`` are sentences without secrets."""

    database: bool = True
    controller: bool = False
    controller_lag: float | None = None  # seconds since the newest sample
    brokers: dict[str, bool] = field(default_factory=dict)
    log: LogHealth = field(default_factory=LogHealth)
    problems: list[str] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "database": self.database,
            "redis": bool(self.brokers) and all(self.brokers.values()),
            "controller": self.controller,
            "controller_lag_seconds": self.controller_lag,
            "brokers": self.brokers,
            "log_lag_seconds": self.log.lag,
            "log_signed": not self.log.unsigned,
            "problems": self.problems,
        }


def health() -> Health:
    """Four reads. Raises ``DatabaseError`` when the database is away."""
    now, state = timezone.now(), Health()
    state.controller = ControllerLease.objects.filter(expires_at__gt=now).exclude(holder="").exists()
    if not state.controller:
        state.problems.append("no controller holds the lease")
    for broker in BrokerState.objects.all():
        state.brokers[broker.alias] = broker.reachable
        if not broker.reachable:
            state.problems.append(f"the broker {broker.alias} is unreachable: {broker.error}")
        if broker.sampled_at is not None:
            lag = (now - broker.sampled_at).total_seconds()
            state.controller_lag = max(lag, state.controller_lag or 0.0)
    if state.controller_lag is None or state.controller_lag > MAX_SAMPLE_AGE:
        state.problems.append("the newest sample is too old or missing")
    state.log = log_health()
    if state.log.is_late:
        state.problems.append(f"the audit log is {state.log.lag} s late")
    if state.log.unsigned:
        state.problems.append("the audit log is not signed any more")
    return state


def render_metrics() -> bytes:
    """Gauges named ``poolwarden_*``, a fixed number of queries however many pools there are."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"poolwarden_{name}", text, labels, registry=registry)

    fields = {
        "waiting": gauge("pool_waiting_jobs", "Jobs waiting in the pool's queues", "pool"),
        "workers": gauge("pool_workers", "Workers alive", "pool"),
        "busy": gauge("pool_busy_workers", "Workers that run a job", "pool"),
        "wanted": gauge("pool_wanted_workers", "Workers that the config asks for", "pool"),
        "dead_letters": gauge("pool_dead_letters", "Dead letters not yet requeued or discarded", "pool"),
    }
    for now in PoolNow.objects.select_related("pool"):
        for name, metric in fields.items():
            metric.labels(now.pool.slug).set(getattr(now, name))
    up = gauge("broker_up", "1 when the controller reached the broker last time", "broker")
    text = "Seconds since all failed jobs of the broker were last known to be dead letters"
    behind = gauge("index_lag_seconds", text, "broker")
    for broker in BrokerState.objects.all():
        up.labels(broker.alias).set(broker.reachable)
        lag = (timezone.now() - broker.scanned_at).total_seconds() if broker.scanned_at else float("nan")
        behind.labels(broker.alias).set(lag)
    gauge("agents", "Agents heard within their time").set(Agent.objects.filter(gone_at=None).count())
    gauge("outbox_waiting", "Messages not yet delivered to a broker").set(
        OutboxMessage.objects.filter(published_at=None).count()
    )
    gauge("notifications_undelivered", "Messages to people that were tried several times and have not arrived").set(
        undelivered().count()
    )
    gauge("audit_pending_events", "Events not yet integrated in the log").set(log_state().pending)
    state = health()
    gauge("ready", "1 when /readyz answers 200").set(state.ready)
    gauge("audit_lag_seconds", "Seconds that the oldest event has waited for its place in the log").set(state.log.lag)
    gauge("audit_signing", "1 while the log is signed").set(not state.log.unsigned)
    gauge("controller_lag_seconds", "Seconds since the newest sample").set(state.controller_lag or float("nan"))
    return generate_latest(registry)
