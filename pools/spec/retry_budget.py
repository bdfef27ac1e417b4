"""How many failed jobs a pool may run again, of all that it runs."""

from pydantic import Field

from pools.spec.part import Part


class RetryBudget(Part):
    """A bound on a pool's retries, so that an outage is not made worse by them."""

    percent: int = Field(
        0,
        ge=0,
        le=100,
        title="Retry budget",
        description="Retries for each 100 jobs that succeed; past it a failure is a dead letter at once. 0: no bound.",
    )
    per_minute: int = Field(
        10,
        ge=0,
        le=10_000,
        title="Retries a minute",
        description="Retries a minute that the budget allows whatever succeeds. Means nothing without a retry budget.",
    )
