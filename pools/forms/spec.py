"""A pool's spec as a form. Labels, help and rules are the schema's: the form only turns text into values and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from pools.forms.cron import EMPTY, EntryFormSet
from pools.forms.gates import BREAKER_DEFAULTS, LIMIT_DEFAULTS, BreakerFormSet, LimitFormSet
from pools.forms.policies import POLICY_DEFAULTS, PolicyFormSet
from pools.forms.spec_fields import LinesField, choice, defaults, described, lines, text, whole
from pools.spec import (
    Admission,
    Application,
    FieldError,
    Horse,
    Isolation,
    PoolSpec,
    RetryBudget,
    RetryRule,
    SpecError,
    parse_spec,
)

# Parts whose fields stand among the spec's own: for each field of the part the name of the form's.
INLINE: dict[str, dict[str, str]] = {
    "admission": {name: name for name in Admission.model_fields},
    "application": {name: name for name in Application.model_fields},
    "horse": {"jobs": "horse_jobs"},
    "isolation": {name: name for name in Isolation.model_fields},
    "retry_budget": {"percent": "retry_percent", "per_minute": "retry_per_minute"},
}
MAX_RULES = 64


class LabelsField(LinesField):
    """Names and values, ``name=value`` one a line."""

    shape = "name=value "

    def clean(self, value: Any) -> Any:
        pairs = [line.partition("=") for line in super().clean(value)]
        for name, equals, _ in pairs:
            if not equals:
                raise forms.ValidationError(f"“{name}” needs the form name=value.")
        return {name.strip(): text.strip() for name, _, text in pairs}

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, Mapping) else value


class WeightsField(LabelsField):
    """Queues and whole numbers, ``queue=weight`` one a line."""

    shape = "queue=weight "

    def clean(self, value: Any) -> Any:
        weights = super().clean(value)
        for queue, weight in weights.items():
            if not weight.isdecimal():
                raise forms.ValidationError(f"“{queue}” needs a whole number: {queue}=3.")
        return {queue: int(weight) for queue, weight in weights.items()}


class RuleForm(forms.Form):
    """One retry rule. A rule without a task is no rule."""

    task = forms.CharField(**described(RetryRule.model_fields["task"], required=False))
    max = whole(RetryRule, "max")
    backoff = whole(RetryRule, "backoff")
    cap = whole(RetryRule, "cap")
    jitter = whole(RetryRule, "jitter")
    transient = lines(RetryRule, "transient", 2)
    permanent = lines(RetryRule, "permanent", 2)
    systemic = lines(RetryRule, "systemic", 2)
    patience = whole(RetryRule, "patience")


RULE_DEFAULTS = defaults(RetryRule, "max", "backoff", "cap", "jitter", "patience")
RuleFormSet = forms.formset_factory(RuleForm, extra=0, max_num=MAX_RULES, absolute_max=MAX_RULES + 1)


@dataclass(frozen=True)
class Parts:
    """One of the spec's lists of parts: its forms, the field without which a form is none, what one is called, what
    the button says that adds one, and what that begins with.
    """

    forms: Any
    key: str
    word: str
    add: str
    defaults: Mapping[str, str]


PARTS = {
    "retry": Parts(RuleFormSet, "task", "retry rule", "add_rule", RULE_DEFAULTS),
    "policies": Parts(PolicyFormSet, "task", "delivery policy", "add_policy", POLICY_DEFAULTS),
    "cron": Parts(EntryFormSet, "name", "cron entry", "add_entry", EMPTY),
    "breakers": Parts(BreakerFormSet, "name", "breaker", "add_breaker", BREAKER_DEFAULTS),
    "limits": Parts(LimitFormSet, "name", "limit", "add_limit", LIMIT_DEFAULTS),
}
ADDING = frozenset(kind.add for kind in PARTS.values())


class SpecForm(forms.Form):
    """After validation ``spec`` is the spec, or None. ``parts``: by the field's name, the forms of its parts.

    ``do``: the button that was pressed; one of ``ADDING`` adds an empty part.
    """

    queues = lines(PoolSpec, "queues")
    workers = whole(PoolSpec, "workers")
    job_timeout = whole(PoolSpec, "job_timeout")
    result_ttl = whole(PoolSpec, "result_ttl")
    failure_ttl = whole(PoolSpec, "failure_ttl")
    serializer = choice(PoolSpec, "serializer", "json")
    stop_grace = whole(PoolSpec, "stop_grace")
    horse_jobs = whole(Horse, "jobs")
    tasks = lines(Admission, "tasks")
    types = lines(Admission, "types")
    callbacks = choice(Admission, "callbacks", "refuse")
    webhooks = choice(Admission, "webhooks", "refuse")
    job_kib = whole(Admission, "job_kib")
    profile = choice(Isolation, "profile", "none")
    memory = whole(Isolation, "memory")
    cpu = whole(Isolation, "cpu")
    open_files = whole(Isolation, "open_files")
    processes = whole(Isolation, "processes")
    output = whole(Isolation, "output")
    writable = lines(Isolation, "writable")
    egress = lines(Isolation, "egress")
    retry_percent = whole(RetryBudget, "percent")
    retry_per_minute = whole(RetryBudget, "per_minute")
    weights = lines(PoolSpec, "weights", field=WeightsField)
    placement = lines(PoolSpec, "placement", field=LabelsField)
    interpreter = text(Application, "interpreter")
    directory = text(Application, "directory")
    preload = lines(Application, "preload")
    environment = lines(PoolSpec, "environment")
    secrets = lines(PoolSpec, "secrets")

    def __init__(self, data: Any = None, *, do: str = "", **options: Any) -> None:
        self.spec: PoolSpec | None = None
        initial = options.get("initial") or {}
        super().__init__(data, **options)
        self.parts = {
            prefix: kind.forms(
                _one_more(data, prefix, kind.defaults) if do == kind.add else data,
                prefix=prefix,
                initial=initial.get(prefix, []),
            )
            for prefix, kind in PARTS.items()
        }

    @staticmethod
    def initial_of(spec: PoolSpec) -> dict[str, Any]:
        values = spec.as_dict()
        for part, names in INLINE.items():
            inner = values.pop(part)
            values |= {name: inner[field] for field, name in names.items()}
        return values

    @property
    def chosen(self) -> PoolSpec:
        """The spec of a valid form."""
        assert self.spec is not None
        return self.spec

    def clean(self) -> dict[str, Any]:
        super().clean()
        data: dict[str, Any] = self.cleaned_data
        faulty = [prefix for prefix, part in self.parts.items() if not part.is_valid()]
        for prefix in faulty:
            self._say_beside(prefix)
        if not faulty and not self.errors:
            try:
                self.spec = parse_spec(self._values(data))
            except SpecError as error:
                for fault in error.errors:
                    self._place(fault)
        return data

    def _say_beside(self, prefix: str) -> None:
        self.add_error(None, f"A {PARTS[prefix].word} has an error, shown beside its field.")

    def _values(self, data: Mapping[str, Any]) -> dict[str, Any]:
        plain = {name: data[name] for name in PoolSpec.model_fields if name not in {*INLINE, *PARTS}}
        inline = {part: {field: data[name] for field, name in names.items()} for part, names in INLINE.items()}
        parts = {prefix: [form.cleaned_data for form in self._filled(prefix)] for prefix in PARTS}
        return plain | inline | parts

    def _filled(self, prefix: str) -> list[forms.Form]:
        return [form for form in self.parts[prefix].forms if form.cleaned_data.get(PARTS[prefix].key)]

    def _place(self, fault: FieldError) -> None:
        """Put a fault of the schema beside the field that it is about."""
        head, *rest = fault.path.split(".")
        if rest and (name := INLINE.get(head, {}).get(rest[0])):
            head, rest = name, rest[1:]
        if head in PARTS and len(rest) >= 2:
            place, name, *rest = rest
            self._filled(head)[int(place)].add_error(name, _sentence(rest, fault.message))
            self._say_beside(head)
        else:
            self.add_error(head if head in self.fields else None, _sentence(rest, fault.message))


def _sentence(place: list[str], message: str) -> str:
    """``place`` is what is left of the path inside the field: a line's index, or a name."""
    if not place:
        return f"{message[:1].upper()}{message[1:]}."
    return f"{f'Line {int(place[0]) + 1}' if place[0].isdecimal() else '.'.join(place)}: {message}."


def _one_more(data: Any, prefix: str, defaults: Mapping[str, str]) -> Any:
    """The submitted data with one more, empty part."""
    more = data.copy()
    total = int(more.get(f"{prefix}-TOTAL_FORMS") or 0)
    more[f"{prefix}-TOTAL_FORMS"] = str(min(total + 1, MAX_RULES))
    for name, value in defaults.items():
        more.setdefault(f"{prefix}-{total}-{name}", value)
    return more
