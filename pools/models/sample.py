"""What the sampler saw: the present of queues, workers and pools, and each pool's history."""

from django.db import models

from pools.models.agent import Agent
from pools.models.pool import Pool


class QueueState(models.Model):
    """A queue as last sampled. Counts are jobs."""

    broker = models.CharField(max_length=50, default="default")
    name = models.CharField(max_length=255)
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="queue_states")
    depth = models.PositiveIntegerField(default=0)
    oldest_enqueued_at = models.DateTimeField(null=True)
    started = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    deferred = models.PositiveIntegerField(default=0)
    scheduled = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["broker", "name"], name="queue_name")]

    def __str__(self) -> str:
        return self.name


class Worker(models.Model):
    """A worker as last sampled; ``gone_at`` is set when it vanished from the broker or its agent reaped it."""

    broker = models.CharField(max_length=50, default="default")
    name = models.CharField(max_length=255)
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="workers")
    agent = models.ForeignKey(Agent, null=True, on_delete=models.SET_NULL, related_name="workers")
    host = models.CharField(max_length=255, blank=True)
    pid = models.PositiveIntegerField(null=True)
    queues = models.JSONField(default=list)
    state = models.CharField(max_length=20)  # idle, busy, starting, draining, … as rq or the agent names it
    current_job_id = models.CharField(max_length=500, blank=True)
    current_func = models.CharField(max_length=500, blank=True)
    current_since = models.DateTimeField(null=True)
    config_number = models.PositiveIntegerField(null=True)
    restarts = models.PositiveIntegerField(default=0)
    born_at = models.DateTimeField(null=True)
    last_seen = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)
    rq_version = models.CharField(max_length=50, blank=True)
    python_version = models.CharField(max_length=50, blank=True)
    successful = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["broker", "name"], name="worker_name")]
        indexes = [
            # The pool page's workers and the sweep of those long gone.
            models.Index(fields=["pool", "gone_at"], name="worker_pool_gone"),
        ]

    def __str__(self) -> str:
        return self.name


class PoolNow(models.Model):
    """A pool's figures of the last sample, so that a page reads one row a pool."""

    pool = models.OneToOneField(Pool, primary_key=True, on_delete=models.CASCADE, related_name="now")
    waiting = models.PositiveIntegerField(default=0)
    oldest_enqueued_at = models.DateTimeField(null=True)
    workers = models.PositiveIntegerField(default=0)
    busy = models.PositiveIntegerField(default=0)
    wanted = models.PositiveIntegerField(default=0)  # workers that the config asks for on the agents that serve it
    done_per_minute = models.PositiveIntegerField(default=0)
    failed_last_hour = models.PositiveIntegerField(default=0)
    dead_letters = models.PositiveIntegerField(default=0)
    gates = models.JSONField(default=dict)  # as pools.broker.gates found them
    sampled_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.pool} now"


class Resolution(models.IntegerChoices):
    """Seconds a sample stands for. Kept for 2 h, 48 h and 90 d."""

    TEN_SECONDS = 10
    MINUTE = 60
    HOUR = 3600


class PoolSample(models.Model):
    """One point of a pool's history. Levels are averages over ``resolution`` seconds, done and failed are sums."""

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="samples")
    resolution = models.PositiveSmallIntegerField(choices=Resolution)
    at = models.DateTimeField()
    waiting = models.PositiveIntegerField()
    oldest_seconds = models.PositiveIntegerField()
    workers = models.PositiveIntegerField()
    busy = models.PositiveIntegerField()
    done = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()

    class Meta:
        constraints = [
            # Charts read one pool at one resolution from a time on.
            models.UniqueConstraint(fields=["pool", "resolution", "at"], name="pool_sample_point")
        ]
        indexes = [
            # The sweep by age, and the overview's sparklines over all pools.
            models.Index(fields=["resolution", "at"], name="pool_sample_age")
        ]

    def __str__(self) -> str:
        return f"{self.pool} {self.at}"
