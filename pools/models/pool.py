"""A pool: workers that serve the same queues in the same way, and whether they should be running."""

import uuid

from django.core.validators import MaxValueValidator
from django.db import models

from audit.target import Target


class Team(models.Model):
    """The people who own objects. Roles are Django groups named ``<team>:<role>``."""

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class PoolKind(models.TextChoices):
    MANAGED = "managed", "Managed"
    ATTACHED = "attached", "Attached"  # stock workers: looked at, never driven
    CONSOLE = "console", "Console"  # the console's own jobs


class Criticality(models.TextChoices):
    CRITICAL = "critical", "critical"
    STANDARD = "standard", "standard"
    LOW = "low", "low"
    INTERNAL = "internal", "internal"


# How many dead letters one person may requeue or discard on their own, where the pool says nothing else. None: any.
DEFAULT_LIMITS: dict[str, int] = {Criticality.CRITICAL: 1_000}


class RunState(models.TextChoices):
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    DRAINING = "draining", "Draining"


class Pool(models.Model):
    """``revision`` grows with each change of this row and guards against lost updates; ``config_number`` is the newest
    config version, ``published_number`` the newest that the controller signed and published (0 = none)."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=PoolKind, default=PoolKind.MANAGED)
    environment = models.CharField(max_length=50)
    broker = models.CharField(max_length=50, default="default")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="pools")
    description = models.TextField(max_length=2000, blank=True)
    runbook_url = models.URLField(max_length=500, blank=True)
    criticality = models.CharField(max_length=10, choices=Criticality, default=Criticality.STANDARD)
    # Operations on more dead letters need an approval; empty: as the criticality has it.
    approval_limit = models.PositiveIntegerField(null=True, blank=True)
    # After so many requeues from which a job came back with the same failure it is quarantined; 0: never.
    poison_after = models.PositiveSmallIntegerField(default=3, validators=[MaxValueValidator(100)])
    # Paths in what jobs are called with, by which dead letters are found; and those under which all open ones are
    # indexed, or what the controller notes while it does that, or null when some are not.
    searchable_arguments = models.JSONField(default=list, blank=True)
    indexed_arguments = models.JSONField(default=list, blank=True, null=True, editable=False)
    # The queues of the newest published spec, in order; for an attached pool those that nobody else claims.
    queues = models.JSONField(default=list)
    config_number = models.PositiveIntegerField(default=0)
    published_number = models.PositiveIntegerField(default=0)
    run_state = models.CharField(max_length=10, choices=RunState, default=RunState.RUNNING)
    generation = models.PositiveIntegerField(default=0)
    revision = models.PositiveIntegerField(default=1)
    # When the controller last put desired state back that somebody had altered on the broker.
    altered_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]
        permissions = [
            ("change_config", "Can publish config versions"),
            ("approve_config", "Can approve config versions"),
            ("control_pool", "Can pause, resume and drain"),
            ("scale_pool", "Can change the number of workers"),
            ("requeue_dead_letters", "Can requeue dead letters"),
            ("discard_dead_letters", "Can discard dead letters"),
            ("approve_operations", "Can approve large operations"),
            ("reveal_payload", "Can reveal payloads of jobs"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def is_managed(self) -> bool:
        return self.kind == PoolKind.MANAGED

    @property
    def approved_above(self) -> int | None:
        """The number of jobs above which an operation needs an approval; None: never."""
        return DEFAULT_LIMITS.get(self.criticality) if self.approval_limit is None else self.approval_limit

    @property
    def has_limit(self) -> bool:
        return self.approved_above is not None

    @property
    def target(self) -> Target:
        """What an event about this pool is about."""
        return Target(kind="pool", id=str(self.uid), name=self.slug, pool=self.slug)


class RunCommand(models.Model):
    """One pause, resume, drain, or word on a breaker: signed with its generation, acknowledged when all live agents
    applied it. ``state`` and ``breakers`` are all that is in force with it; ``breaker``: the one that it is about.

    Each of ``breakers``: breaker (its name), state (open or closed), and generation, of the command that said so.
    """

    command_id = models.UUIDField(default=uuid.uuid4, unique=True)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="run_commands")
    generation = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=RunState)
    breakers = models.JSONField(default=list)
    breaker = models.CharField(max_length=63, blank=True)
    reason = models.CharField(max_length=2000)
    issued_by = models.CharField(max_length=200)
    issued_at = models.DateTimeField(auto_now_add=True)
    deadline = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-generation"]
        constraints = [models.UniqueConstraint(fields=["pool", "generation"], name="run_command_generation")]

    def __str__(self) -> str:
        return f"{self.pool} {self.state} #{self.generation}"

    @property
    def said(self) -> str:
        """What the command asked for, in words."""
        if not self.breaker:
            return self.get_state_display()
        wish = next(wish for wish in self.breakers if wish["breaker"] == self.breaker)
        return f"Hold breaker {self.breaker} open" if wish["state"] == "open" else f"Close breaker {self.breaker}"
