"""A pool's spec as a form. Labels, help and rules are the schema's: the form only turns text into values and back."""

from collections.abc import Mapping
from typing import Any, get_args

from django import forms
from pydantic.fields import FieldInfo

from pools.forms.cron import EMPTY, EntryFormSet
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


class LinesField(forms.CharField):
    """A list of words, one a line."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def run_validators(self, value: Any) -> None:
        super().run_validators("\n".join(value))

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) or value is None else "\n".join(value)


class LabelsField(LinesField):
    """Names and values, ``name=value`` one a line."""

    def clean(self, value: Any) -> Any:
        pairs = [line.partition("=") for line in super().clean(value)]
        for name, equals, _ in pairs:
            if not equals:
                raise forms.ValidationError(f"“{name}” needs the form name=value.")
        return {name.strip(): text.strip() for name, _, text in pairs}

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, Mapping) else value


class PoliciesField(LinesField):
    """Delivery policies, ``task delivery losses deadline`` one a line; the last two may be left out."""

    def clean(self, value: Any) -> Any:
        return [self._policy(line) for line in super().clean(value)]

    @staticmethod
    def _policy(line: str) -> dict[str, Any]:
        words = line.split()
        if not 2 <= len(words) <= 4 or not all(word.isdecimal() for word in words[2:]):
            raise forms.ValidationError(f"“{line}” needs the form: task delivery losses deadline.")
        numbers = [int(word) for word in words[2:]]
        return dict(zip(("task", "delivery", "losses", "deadline"), [*words[:2], *numbers], strict=False))

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str) or value is None:
            return value
        return "\n".join("{task} {delivery} {losses} {deadline}".format(**policy) for policy in value)


def _described(info: FieldInfo, **more: Any) -> dict[str, Any]:
    return {"label": info.title, "help_text": info.description, "required": info.is_required()} | more


SHAPES: dict[type[LinesField], str] = {LabelsField: "name=value ", PoliciesField: "“task delivery losses deadline” "}


def _whole(model: Any, name: str) -> forms.IntegerField:
    """Bounds are the schema's; the browser is told them, the server asks the schema."""
    info: FieldInfo = model.model_fields[name]
    bounds = {type(part).__name__.lower(): part for part in info.metadata}
    attrs = {"inputmode": "numeric", "min": bounds["ge"].ge, "max": bounds["le"].le}
    initial = None if info.is_required() else info.default
    return forms.IntegerField(**_described(info, required=True, initial=initial, widget=forms.NumberInput(attrs)))


def _lines(model: Any, name: str, rows: int = 3, field: type[LinesField] = LinesField) -> LinesField:
    attrs = {"rows": rows, "spellcheck": "false"}
    info: FieldInfo = model.model_fields[name]
    said = f"{info.description} One {SHAPES.get(field, '')}a line."
    return field(**_described(info, help_text=said, widget=forms.Textarea(attrs)))


def _text(model: Any, name: str) -> forms.CharField:
    return forms.CharField(**_described(model.model_fields[name], widget=forms.TextInput({"spellcheck": "false"})))


def _choice(model: Any, name: str, initial: str) -> forms.ChoiceField:
    """``initial`` is for a new pool, which may begin stricter than what the schema takes where nothing is said."""
    info: FieldInfo = model.model_fields[name]
    choices = [(value, value) for value in get_args(info.annotation)]
    return forms.ChoiceField(choices=choices, initial=initial, **_described(info, required=True))


class RuleForm(forms.Form):
    """One retry rule. A rule without a task is no rule."""

    task = forms.CharField(**_described(RetryRule.model_fields["task"], required=False))
    max = _whole(RetryRule, "max")
    backoff = _whole(RetryRule, "backoff")
    cap = _whole(RetryRule, "cap")
    jitter = _whole(RetryRule, "jitter")
    transient = _lines(RetryRule, "transient", 2)
    permanent = _lines(RetryRule, "permanent", 2)
    systemic = _lines(RetryRule, "systemic", 2)
    patience = _whole(RetryRule, "patience")


NUMBERS = ("max", "backoff", "cap", "jitter", "patience")
RULE_DEFAULTS = {name: str(RetryRule.model_fields[name].default) for name in NUMBERS}
RuleFormSet = forms.formset_factory(RuleForm, extra=0, max_num=MAX_RULES, absolute_max=MAX_RULES + 1)


class SpecForm(forms.Form):
    """After validation ``spec`` is the spec, or None. ``rules`` and ``entries``: forms of retry rules, cron entries."""

    queues = _lines(PoolSpec, "queues")
    workers = _whole(PoolSpec, "workers")
    job_timeout = _whole(PoolSpec, "job_timeout")
    result_ttl = _whole(PoolSpec, "result_ttl")
    failure_ttl = _whole(PoolSpec, "failure_ttl")
    serializer = _choice(PoolSpec, "serializer", "json")
    stop_grace = _whole(PoolSpec, "stop_grace")
    horse_jobs = _whole(Horse, "jobs")
    tasks = _lines(Admission, "tasks")
    types = _lines(Admission, "types")
    callbacks = _choice(Admission, "callbacks", "refuse")
    webhooks = _choice(Admission, "webhooks", "refuse")
    job_kib = _whole(Admission, "job_kib")
    profile = _choice(Isolation, "profile", "none")
    memory = _whole(Isolation, "memory")
    cpu = _whole(Isolation, "cpu")
    open_files = _whole(Isolation, "open_files")
    processes = _whole(Isolation, "processes")
    output = _whole(Isolation, "output")
    writable = _lines(Isolation, "writable")
    retry_percent = _whole(RetryBudget, "percent")
    retry_per_minute = _whole(RetryBudget, "per_minute")
    placement = _lines(PoolSpec, "placement", field=LabelsField)
    interpreter = _text(Application, "interpreter")
    directory = _text(Application, "directory")
    preload = _lines(Application, "preload")
    environment = _lines(PoolSpec, "environment")
    secrets = _lines(PoolSpec, "secrets")
    policies = _lines(PoolSpec, "policies", field=PoliciesField)

    def __init__(self, data: Any = None, *, add_rule: bool = False, add_entry: bool = False, **options: Any) -> None:
        self.spec: PoolSpec | None = None
        initial = options.get("initial") or {}
        super().__init__(data, **options)
        more = _one_more(data, "retry", RULE_DEFAULTS) if add_rule else data
        self.rules = RuleFormSet(more, prefix="retry", initial=initial.get("retry", []))
        more = _one_more(data, "cron", EMPTY) if add_entry else data
        self.entries = EntryFormSet(more, prefix="cron", initial=initial.get("cron", []))

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
        faulty = [prefix for prefix, (forms_, _, _) in self._parts.items() if not forms_.is_valid()]
        for prefix in faulty:
            self._say_beside(prefix)
        if not faulty and not self.errors:
            try:
                self.spec = parse_spec(self._values(data))
            except SpecError as error:
                for fault in error.errors:
                    self._place(fault)
        return data

    @property
    def _parts(self) -> dict[str, tuple[Any, str, str]]:
        """The spec's lists of parts: their forms, the field without which a form is none, and what one is called."""
        return {"retry": (self.rules, "task", "retry rule"), "cron": (self.entries, "name", "cron entry")}

    def _say_beside(self, prefix: str) -> None:
        self.add_error(None, f"A {self._parts[prefix][2]} has an error, shown beside its field.")

    def _values(self, data: Mapping[str, Any]) -> dict[str, Any]:
        plain = {name: data[name] for name in PoolSpec.model_fields if name not in {*INLINE, *self._parts}}
        inline = {part: {field: data[name] for field, name in names.items()} for part, names in INLINE.items()}
        parts = {prefix: [form.cleaned_data for form in self._filled(prefix)] for prefix in self._parts}
        return plain | inline | parts

    def _filled(self, prefix: str) -> list[forms.Form]:
        forms_, key, _ = self._parts[prefix]
        return [form for form in forms_.forms if form.cleaned_data.get(key)]

    def _place(self, fault: FieldError) -> None:
        """Put a fault of the schema beside the field that it is about."""
        head, *rest = fault.path.split(".")
        if rest and (name := INLINE.get(head, {}).get(rest[0])):
            head, rest = name, rest[1:]
        if head in self._parts and len(rest) >= 2:
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
