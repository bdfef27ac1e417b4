"""What a pool should be: the one schema behind the form, the YAML text, the API and the signed config.

Titles and descriptions are the form's labels and help texts; times are whole seconds.
"""

from typing import Annotated, Any, Literal

import rfc8785
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from pools.spec.admission import Admission, admission_faults
from pools.spec.cron import CronEntry, cron_faults
from pools.spec.errors import SpecError
from pools.spec.fields import (
    AbsolutePath,
    ExceptionName,
    LabelName,
    LabelValue,
    PreloadName,
    QueueName,
    SecretName,
    TaskPattern,
    Unique,
    VariableName,
)
from pools.spec.gates import BreakerRule, LimitRule, gate_faults
from pools.spec.isolation import Isolation, isolation_faults
from pools.spec.part import Part
from pools.spec.policies import DeliveryPolicy, policy_faults
from pools.spec.retry_budget import RetryBudget

DAY = 86_400
YEAR = 365 * DAY


Weight = Annotated[int, Field(ge=1, le=100)]


class RetryRule(Part):
    """What happens when a task fails. The first rule whose pattern matches the task's name applies, and no other."""

    task: TaskPattern = Field(
        title="Task", description="The task's dotted name. * stands for any text: billing.* or *.send_mail."
    )
    max: int = Field(3, ge=0, le=100, title="Retries", description="How often a failed job is run again. 0: never.")
    backoff: int = Field(
        10, ge=0, le=DAY, title="First wait", description="Seconds before the first retry; doubled for each one after."
    )
    cap: int = Field(
        600,
        ge=0,
        le=7 * DAY,
        title="Longest wait",
        description="Seconds that no wait exceeds; at least the first wait.",
    )
    jitter: int = Field(
        20,
        ge=0,
        le=100,
        title="Jitter",
        description="Percent by which a wait may be shortened, so that retries spread.",
    )
    transient: Annotated[list[ExceptionName], Unique()] = Field(
        [],
        max_length=64,
        title="Transient errors",
        description="Exceptions worth a retry. Empty: every exception that is not permanent.",
    )
    permanent: Annotated[list[ExceptionName], Unique()] = Field(
        [], max_length=64, title="Permanent errors", description="Exceptions that are never retried."
    )

    systemic: Annotated[list[ExceptionName], Unique()] = Field(
        [],
        max_length=64,
        title="Systemic errors",
        description="Exceptions that say that something is broken for all jobs. They are retried after the longest "
        "wait each time, and count neither as retries nor against the retry budget.",
    )
    patience: int = Field(
        4 * 3600,
        ge=0,
        le=7 * DAY,
        title="Patience",
        description="Seconds since a job was made in which that goes on; later a systemic error is a transient one.",
    )

    @field_validator("cap")
    @classmethod
    def _cap_reaches_backoff(cls, cap: int, info: ValidationInfo) -> int:
        backoff = info.data.get("backoff", 0)
        if cap < backoff:
            raise ValueError(f"must be at least the first wait ({backoff} s)")
        return cap

    @field_validator("permanent", "systemic")
    @classmethod
    def _in_one_list(cls, names: list[str], info: ValidationInfo) -> list[str]:
        for other in ("transient", "permanent"):
            both = [name for name in names if name in info.data.get(other, [])]
            if both:
                raise ValueError(f"must not name {both[0]}, which is listed as {other} too")
        return names


class Application(Part):
    """Where the user's application lives on the worker host."""

    interpreter: AbsolutePath = Field(
        "", title="Interpreter", description="Absolute path of the Python to run. Empty: the agent's own."
    )
    directory: AbsolutePath = Field(
        "", title="Working directory", description="Absolute path that workers start in. Empty: the agent's own."
    )
    preload: Annotated[list[PreloadName], Unique()] = Field(
        [],
        max_length=32,
        title="Preload",
        description="Modules imported before the first job. django:mysite.settings sets Django up with these settings.",
    )


class Horse(Part):
    """The process that a worker starts to run jobs in."""

    jobs: int = Field(
        1,
        ge=1,
        le=1000,
        title="Jobs per process",
        description="Jobs that one process runs before it is replaced. 1: each job has its own. More is faster, but "
        "what a job leaves in memory is there for the next: only for code that trusts itself.",
    )


class PoolSpec(Part):
    """The wanted state of one pool of workers."""

    queues: Annotated[list[QueueName], Unique()] = Field(
        min_length=1,
        max_length=64,
        title="Queues",
        description="Taken from in this order: the first is emptied first, unless weights are given.",
    )
    workers: int = Field(
        ge=0, le=512, title="Workers per agent", description="Processes that each agent keeps running. 0: none."
    )
    job_timeout: int = Field(
        180, ge=1, le=DAY, title="Job timeout", description="Seconds a job may run when it does not say so itself."
    )
    result_ttl: int = Field(
        500, ge=0, le=YEAR, title="Keep results", description="Seconds that a finished job is kept. 0: not at all."
    )
    failure_ttl: int = Field(
        YEAR, ge=60, le=YEAR, title="Keep failures", description="Seconds that a failed job is kept as a dead letter."
    )
    serializer: Literal["json", "pickle"] = Field(
        "pickle",
        title="Serializer",
        description="How jobs are written. pickle lets whoever writes to a queue run code in a worker.",
    )
    stop_grace: int = Field(
        60,
        ge=1,
        le=3600,
        title="Stop grace",
        description="Seconds a stopping worker's job may go on before it is killed.",
    )
    weights: dict[QueueName, Weight] = Field(
        {},
        max_length=64,
        title="Weights",
        description="Shares in which queues that hold jobs are served, 1 to 100; else 1. Empty: in their order.",
    )
    horse: Horse = Field(Horse(), title="Job processes", description="How long a process that runs jobs is kept.")
    admission: Admission = Field(
        Admission(), title="Jobs admitted", description="Which jobs the workers run. They refuse all others."
    )
    isolation: Isolation = Field(
        Isolation(), title="Isolation of jobs", description="What jobs may do and use on their host."
    )
    placement: dict[LabelName, LabelValue] = Field(
        {},
        max_length=32,
        title="Placement",
        description="Labels that an agent must have to serve this pool. Empty: any.",
    )
    application: Application = Field(
        Application(), title="Application's place", description="Where the tasks' code lives on the worker host."
    )
    environment: Annotated[list[VariableName], Unique()] = Field(
        [],
        max_length=128,
        title="Environment",
        description="Names of environment variables that workers inherit from the agent; never their values.",
    )
    secrets: Annotated[list[SecretName], Unique()] = Field(
        [], max_length=64, title="Secrets", description="Names of the secrets that the tasks may read."
    )
    retry: list[RetryRule] = Field(
        [],
        max_length=64,
        title="Retry rules",
        description="The first rule that matches a task applies. None: no retry.",
    )
    retry_budget: RetryBudget = Field(
        RetryBudget(), title="Retry budget", description="How many failed jobs may run again, of all that run."
    )
    cron: list[CronEntry] = Field(
        [],
        max_length=64,
        title="Cron entries",
        description="Jobs that the agents enqueue by the clock, each once.",
    )

    policies: list[DeliveryPolicy] = Field(
        [],
        max_length=64,
        title="Delivery policies",
        description="The first policy that matches a task applies. None: at_most_once.",
    )

    breakers: list[BreakerRule] = Field(
        [],
        max_length=32,
        title="Breakers",
        description="Dependencies that fail: tasks that need one wait until it is back.",
    )
    limits: list[LimitRule] = Field(
        [], max_length=32, title="Limits", description="How many jobs of a task may begin in a second, and run."
    )

    @field_validator("weights")
    @classmethod
    def _of_its_queues(cls, weights: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        for queue in weights:
            if queue not in info.data.get("queues", weights):
                raise ValueError(f"must not name {queue}, which is none of the pool's queues")
        return weights

    @field_validator("retry", "policies")
    @classmethod
    def _every_rule_can_match[Rule: (RetryRule, DeliveryPolicy)](cls, rules: list[Rule]) -> list[Rule]:
        tasks: list[str] = []
        for rule in rules:
            if rule.task in tasks:
                raise ValueError(f"must not hold two rules for {rule.task}: only the first would ever apply")
            tasks.append(rule.task)
        return rules

    def as_dict(self) -> dict[str, Any]:
        """The spec as JSON values, every field present: what is stored, signed and sent."""
        return self.model_dump(mode="json")


def parse_spec(data: Any) -> PoolSpec:
    """Check JSON-like ``data`` and return the spec. Raises SpecError with one entry for each faulty field."""
    try:
        spec = PoolSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError.from_pydantic(error) from None
    faults = cron_faults(spec.cron, spec.queues) + admission_faults(spec.admission, spec.cron)
    faults += gate_faults(spec.breakers, spec.limits) + policy_faults(spec.policies, spec.queues, spec.admission)
    faults += isolation_faults(spec.isolation, spec.horse.jobs, spec.secrets, spec.admission.webhooks)
    if faults:
        raise SpecError(faults)
    return spec


def canonical(spec: PoolSpec) -> bytes:
    """The spec's RFC 8785 bytes: equal specs give equal bytes."""
    return rfc8785.dumps(spec.as_dict())


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a spec, with a title and a description for each field."""
    return PoolSpec.model_json_schema()
