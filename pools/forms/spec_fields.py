"""Form fields made from the schema's: labels, help and bounds are the schema's, the server asks it again."""

from typing import Any, get_args

from django import forms
from pydantic.fields import FieldInfo


class LinesField(forms.CharField):
    """A list of words, one a line. ``shape``: what a line looks like, for people."""

    widget = forms.Textarea
    shape = ""

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def run_validators(self, value: Any) -> None:
        super().run_validators("\n".join(value))

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) or value is None else "\n".join(value)


class NumbersField(LinesField):
    """Whole numbers, one a line."""

    shape = "whole number "

    def clean(self, value: Any) -> Any:
        found = super().clean(value)
        for line in found:
            if not (line.isascii() and line.isdecimal()):
                raise forms.ValidationError(f"“{line}” is not a whole number.")
        return [int(line) for line in found]

    def prepare_value(self, value: Any) -> Any:
        return super().prepare_value(value if isinstance(value, str) or value is None else [str(one) for one in value])


def described(info: FieldInfo, **more: Any) -> dict[str, Any]:
    return {"label": info.title, "help_text": info.description, "required": info.is_required()} | more


def whole(model: Any, name: str) -> forms.IntegerField:
    """Bounds are the schema's; the browser is told them, the server asks the schema."""
    info: FieldInfo = model.model_fields[name]
    bounds = {type(part).__name__.lower(): part for part in info.metadata}
    attrs = {"inputmode": "numeric", "min": bounds["ge"].ge, "max": bounds["le"].le}
    initial = None if info.is_required() else info.default
    return forms.IntegerField(**described(info, required=True, initial=initial, widget=forms.NumberInput(attrs)))


def lines(model: Any, name: str, rows: int = 3, field: type[LinesField] = LinesField) -> LinesField:
    attrs = {"rows": rows, "spellcheck": "false"}
    info: FieldInfo = model.model_fields[name]
    said = f"{info.description} One {field.shape}a line."
    return field(**described(info, help_text=said, widget=forms.Textarea(attrs)))


def text(model: Any, name: str) -> forms.CharField:
    return forms.CharField(**described(model.model_fields[name], widget=forms.TextInput({"spellcheck": "false"})))


def choice(model: Any, name: str, initial: str) -> forms.ChoiceField:
    """``initial`` is for a new pool, which may begin stricter than what the schema takes where nothing is said."""
    info: FieldInfo = model.model_fields[name]
    choices = [(value, value) for value in get_args(info.annotation)]
    return forms.ChoiceField(choices=choices, initial=initial, **described(info, required=True))


def defaults(model: Any, *names: str) -> dict[str, str]:
    """What an empty part begins with, as it is submitted."""
    return {name: str(model.model_fields[name].default) for name in names}
