"""A pool's spec as a form. Labels, help and rules are the schema's: the form only turns text into values and back."""

from collections.abc import Mapping
from typing import Any

from django import forms
from pydantic.fields import FieldInfo

from pools.spec import Application, FieldError, Horse, PoolSpec, RetryRule, SpecError, parse_spec

APPLICATION = tuple(Application.model_fields)
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
    """Delivery policies, ``task delivery`` or ``task delivery losses`` one a line."""

    def clean(self, value: Any) -> Any:
        return [self._policy(line) for line in super().clean(value)]

    @staticmethod
    def _policy(line: str) -> dict[str, Any]:
        words = line.split()
        if len(words) not in (2, 3) or not all(word.isdecimal() for word in words[2:]):
            raise forms.ValidationError(f"“{line}” needs the form: task delivery losses.")
        losses = [int(word) for word in words[2:]]
        return dict(zip(("task", "delivery", "losses"), [*words[:2], *losses], strict=False))

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str) or value is None:
            return value
        return "\n".join("{task} {delivery} {losses}".format(**policy) for policy in value)


def _described(info: FieldInfo, **more: Any) -> dict[str, Any]:
    return {"label": info.title, "help_text": info.description, "required": info.is_required()} | more


SHAPES: dict[type[LinesField], str] = {LabelsField: "name=value ", PoliciesField: "“task delivery losses” "}


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


class RuleForm(forms.Form):
    """One retry rule. A rule without a task is no rule."""

    task = forms.CharField(**_described(RetryRule.model_fields["task"], required=False))
    max = _whole(RetryRule, "max")
    backoff = _whole(RetryRule, "backoff")
    cap = _whole(RetryRule, "cap")
    jitter = _whole(RetryRule, "jitter")
    transient = _lines(RetryRule, "transient", 2)
    permanent = _lines(RetryRule, "permanent", 2)


RuleFormSet = forms.formset_factory(RuleForm, extra=0, max_num=MAX_RULES, absolute_max=MAX_RULES + 1)


class SpecForm(forms.Form):
    """After validation ``spec`` is the spec, or None. ``rules`` are the retry rules' own forms."""

    queues = _lines(PoolSpec, "queues")
    workers = _whole(PoolSpec, "workers")
    job_timeout = _whole(PoolSpec, "job_timeout")
    result_ttl = _whole(PoolSpec, "result_ttl")
    failure_ttl = _whole(PoolSpec, "failure_ttl")
    serializer = forms.ChoiceField(
        choices=[("json", "json"), ("pickle", "pickle")],
        initial="json",
        **_described(PoolSpec.model_fields["serializer"], required=True),
    )
    stop_grace = _whole(PoolSpec, "stop_grace")
    horse_jobs = _whole(Horse, "jobs")
    placement = _lines(PoolSpec, "placement", field=LabelsField)
    interpreter = _text(Application, "interpreter")
    directory = _text(Application, "directory")
    preload = _lines(Application, "preload")
    environment = _lines(PoolSpec, "environment")
    secrets = _lines(PoolSpec, "secrets")
    policies = _lines(PoolSpec, "policies", field=PoliciesField)

    def __init__(self, data: Any = None, *, add_rule: bool = False, **options: Any) -> None:
        self.spec: PoolSpec | None = None
        rules = (options.get("initial") or {}).get("retry", [])
        super().__init__(data, **options)
        self.rules = RuleFormSet(_one_more(data) if add_rule else data, prefix="retry", initial=rules)

    @staticmethod
    def initial_of(spec: PoolSpec) -> dict[str, Any]:
        values = spec.as_dict()
        application: dict[str, Any] = values.pop("application")
        return values | application | {"horse_jobs": values.pop("horse")["jobs"]}

    @property
    def chosen(self) -> PoolSpec:
        """The spec of a valid form."""
        assert self.spec is not None
        return self.spec

    def clean(self) -> dict[str, Any]:
        super().clean()
        data: dict[str, Any] = self.cleaned_data
        rules_hold = self.rules.is_valid()
        if rules_hold and not self.errors:
            try:
                self.spec = parse_spec(self._values(data))
            except SpecError as error:
                for fault in error.errors:
                    self._place(fault)
        elif not rules_hold:
            self.add_error(None, "A retry rule has an error, shown beside its field.")
        return data

    def _values(self, data: Mapping[str, Any]) -> dict[str, Any]:
        plain = {name: data[name] for name in PoolSpec.model_fields if name not in ("application", "horse", "retry")}
        application = {name: data[name] for name in APPLICATION}
        nested = {"application": application, "horse": {"jobs": data["horse_jobs"]}}
        return plain | nested | {"retry": [rule.cleaned_data for rule in self._filled()]}

    def _filled(self) -> list[forms.Form]:
        return [rule for rule in self.rules.forms if rule.cleaned_data.get("task")]

    def _place(self, fault: FieldError) -> None:
        """Put a fault of the schema beside the field that it is about."""
        head, *rest = fault.path.removeprefix("application.").replace("horse.jobs", "horse_jobs").split(".")
        if head == "retry" and len(rest) >= 2:
            rule, name, *rest = rest
            self._filled()[int(rule)].add_error(name, _sentence(rest, fault.message))
            self.add_error(None, "A retry rule has an error, shown beside its field.")
        else:
            self.add_error(head if head in self.fields else None, _sentence(rest, fault.message))


def _sentence(place: list[str], message: str) -> str:
    """``place`` is what is left of the path inside the field: a line's index, or a name."""
    if not place:
        return f"{message[:1].upper()}{message[1:]}."
    return f"{f'Line {int(place[0]) + 1}' if place[0].isdecimal() else '.'.join(place)}: {message}."


def _one_more(data: Any) -> Any:
    """The submitted data with one more, empty rule."""
    more = data.copy()
    total = int(more.get("retry-TOTAL_FORMS") or 0)
    more["retry-TOTAL_FORMS"] = str(min(total + 1, MAX_RULES))
    for name in ("max", "backoff", "cap", "jitter"):
        more.setdefault(f"retry-{total}-{name}", str(RetryRule.model_fields[name].default))
    return more
