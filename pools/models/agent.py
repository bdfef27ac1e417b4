"""Agents as the controller last heard them, and what each says it verified and runs for a pool."""

from django.db import models

from pools.models.pool import Pool, RunState


class Agent(models.Model):
    broker = models.CharField(max_length=50, default="default")
    name = models.CharField(max_length=100)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField(default=0)
    boot = models.CharField(max_length=64)
    seq = models.PositiveBigIntegerField(default=0)
    labels = models.JSONField(default=dict)
    version = models.CharField(max_length=50)
    python_version = models.CharField(max_length=50)
    rq_version = models.CharField(max_length=50)
    root_sha256 = models.CharField(max_length=64)
    first_seen = models.DateTimeField(auto_now_add=True)
    last_seen = models.DateTimeField()  # by the controller's clock, when the beat's sequence number last moved
    gone_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["broker", "name"], name="agent_name")]

    def __str__(self) -> str:
        return self.name


class AgentPool(models.Model):
    """Told, verified, running: config version numbers, null for none yet."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="pools")
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="agents")
    told = models.PositiveIntegerField(null=True)
    verified = models.PositiveIntegerField(null=True)
    running = models.PositiveIntegerField(null=True)
    generation = models.PositiveIntegerField(default=0)
    run_state = models.CharField(max_length=10, choices=RunState, default=RunState.RUNNING)
    refused_version = models.PositiveIntegerField(null=True)
    refused_code = models.CharField(max_length=50, blank=True)
    refused_detail = models.CharField(max_length=1000, blank=True)
    refused_at = models.DateTimeField(null=True)
    boot_failure = models.TextField(blank=True)
    boot_failed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "pool"], name="agent_pool")]

    def __str__(self) -> str:
        return f"{self.agent} {self.pool}"
