"""One pool's page: workers by page, history for the charts, queues, commands."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from controlplane.wording import count
from pools.models import Pool, PoolSample, QueueState, Resolution, RunCommand, Worker
from pools.selectors.fleet import Presence, presences, sparks
from pools.selectors.rows import PoolRow, rows_of

PAGE = 25
QUEUES = 20
COMMANDS = 5
RECENTLY_GONE = timedelta(hours=1)
SPANS = {
    "1h": (timedelta(hours=1), Resolution.TEN_SECONDS, "1 h"),
    "24h": (timedelta(hours=24), Resolution.MINUTE, "24 h"),
    "7d": (timedelta(days=7), Resolution.HOUR, "7 d"),
}
WORKER_TABS = {"all": "All", "busy": "Busy", "idle": "Idle", "drifting": "Drifting", "gone": "Gone"}


@dataclass(frozen=True)
class WorkerPage:
    """``tabs``: key, label, count. ``start`` and ``end`` count from 1; ``next`` is the next page's number or None."""

    which: str
    workers: list[Worker]
    tabs: list[tuple[str, str, int]]
    start: int
    end: int
    total: int
    number: int
    next: int | None


@dataclass(frozen=True)
class CommandLine:
    """A run command; ``seconds`` from the click until every live agent had applied it."""

    command: RunCommand

    @property
    def seconds(self) -> float | None:
        at = self.command.acknowledged_at
        return round((at - self.command.issued_at).total_seconds(), 1) if at else None


def row_of(pool: Pool) -> PoolRow:
    """The pool as one row, with everything that is known of it now."""
    return rows_of(presences([pool]), sparks([pool]))[0]


def workers_of(pool: Pool, which: str, number: int) -> WorkerPage:
    """A page of workers by host and name. An unknown ``which`` means all."""
    which = which if which in WORKER_TABS else "all"
    filters = _worker_filters(pool)
    counts = pool.workers.aggregate(**{f"n_{key}": Count("pk", filter=wanted) for key, wanted in filters.items()})
    tabs = [(key, label, int(counts[f"n_{key}"])) for key, label in WORKER_TABS.items()]
    total = int(counts[f"n_{which}"])
    pages = max(1, -(-total // PAGE))
    number = min(max(number, 1), pages)
    first = (number - 1) * PAGE
    workers = list(_ordered(pool.workers.filter(filters[which]), which)[first : first + PAGE])
    return WorkerPage(
        which=which,
        workers=workers,
        tabs=[tab for tab in tabs if tab[0] != "gone" or tab[2]],
        start=first + 1 if workers else 0,
        end=first + len(workers),
        total=total,
        number=number,
        next=number + 1 if number < pages else None,
    )


def _worker_filters(pool: Pool) -> dict[str, Q]:
    live = Q(gone_at=None)
    drifting = Q(config_number__isnull=False) & ~Q(config_number=pool.published_number)
    return {
        "all": live,
        "busy": live & Q(state="busy"),
        "idle": live & Q(state="idle"),
        "drifting": live & drifting if pool.is_managed else Q(pk__in=[]),
        "gone": Q(gone_at__gte=timezone.now() - RECENTLY_GONE),
    }


def _ordered(workers: QuerySet[Worker], which: str) -> QuerySet[Worker]:
    return workers.order_by("-gone_at") if which == "gone" else workers.order_by("host", "name")


def queues_of(pool: Pool) -> tuple[list[QueueState], int]:
    """The deepest queues and how many there are. For a managed pool also those that no broker has seen yet."""
    states = pool.queue_states.order_by("-depth", "name")
    found, total = list(states[:QUEUES]), states.count()
    known = {state.name for state in found}
    if pool.is_managed and total <= QUEUES:
        found += [QueueState(name=name, pool=pool) for name in pool.queues if name not in known]
    return found, max(total, len(found))


def commands_of(pool: Pool) -> list[CommandLine]:
    """The newest run commands."""
    return [CommandLine(command) for command in pool.run_commands.all()[:COMMANDS]]


def hosts_of(presence: Presence) -> list[str]:
    return sorted({serving.agent.host for serving in presence.live})


def charts(pool: Pool, span: str) -> dict[str, Any]:
    """Waiting jobs and jobs done a minute over a span of ``SPANS``, with marks for versions and commands."""
    length, resolution, _ = SPANS[span]
    since = timezone.now() - length
    points = PoolSample.objects.filter(pool=pool, resolution=resolution, at__gte=since).order_by("at")
    rows = list(points.values_list("at", "waiting", "done", "failed"))
    times = [int(at.timestamp()) for at, *_ in rows]
    marks = _marks(pool, since)
    done = _per_minute([row[2] for row in rows], resolution)
    failed = _per_minute([row[3] for row in rows], resolution)
    rates = [{"label": "Done a minute", "values": done}]
    if any(failed):
        rates.append({"label": "Failed a minute", "values": failed, "tone": "bad"})
    waiting = [{"label": "Waiting", "values": [row[1] for row in rows]}]
    most = max((row[1] for row in rows), default=0)
    last = rows[-1][1] if rows else 0
    label = SPANS[span][2]
    return {
        "waiting": {"times": times, "series": waiting, "marks": marks},
        "waiting_label": f"Waiting jobs, last {label}: at most {count(most)}, now {count(last)}",
        "rates": {"times": times, "series": rates, "marks": marks},
        "rates_label": f"Jobs done a minute, last {label}: at most {count(max(done, default=0))}",
    }


def _per_minute(sums: list[int], resolution: int) -> list[int]:
    """Sums of ``resolution`` seconds as a rate; short ones are added up over the minute that ends there."""
    if resolution >= Resolution.MINUTE:
        return [round(value * 60 / resolution) for value in sums]
    window = Resolution.MINUTE // resolution
    return [
        round(sum(part := sums[max(0, end - window) : end]) * window / len(part)) for end in range(1, len(sums) + 1)
    ]


def _marks(pool: Pool, since: Any) -> list[dict[str, Any]]:
    versions: Iterable[tuple[int, Any]] = pool.config_versions.filter(signed_at__gte=since).values_list(
        "number", "signed_at"
    )
    marks = [{"at": int(at.timestamp()), "label": f"v{number}", "tone": "accent"} for number, at in versions]
    for command in pool.run_commands.filter(issued_at__gte=since):
        tone = {} if command.state == "running" else {"tone": "warn"}
        marks.append({"at": int(command.issued_at.timestamp()), "label": command.get_state_display()} | tone)
    return sorted(marks, key=lambda mark: mark["at"])
