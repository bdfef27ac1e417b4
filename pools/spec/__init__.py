"""The pool spec: schema, canonical form, YAML text and diff. No Django, no I/O."""

from pools.spec.admission import Admission
from pools.spec.comparison import Change, DiffLine, diff, diff_lines
from pools.spec.cron import CronEntry
from pools.spec.errors import FieldError, SpecError
from pools.spec.gates import BreakerRule, LimitRule
from pools.spec.isolation import Isolation
from pools.spec.policies import DeliveryPolicy
from pools.spec.retry_budget import RetryBudget
from pools.spec.schema import (
    Application,
    Horse,
    PoolSpec,
    RetryRule,
    canonical,
    json_schema,
    parse_spec,
)
from pools.spec.yaml_text import parse_yaml, to_yaml

__all__ = [
    "Admission",
    "Application",
    "BreakerRule",
    "Change",
    "CronEntry",
    "DeliveryPolicy",
    "DiffLine",
    "FieldError",
    "Horse",
    "Isolation",
    "LimitRule",
    "PoolSpec",
    "RetryBudget",
    "RetryRule",
    "SpecError",
    "canonical",
    "diff",
    "diff_lines",
    "json_schema",
    "parse_spec",
    "parse_yaml",
    "to_yaml",
]
