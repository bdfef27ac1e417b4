"""Publishing a config version: the spec, as a form or as YAML, with a message and what the author saw."""

from typing import Any

from django import forms

from pools.forms.spec import SpecForm
from pools.spec import FieldError, PoolSpec, SpecError, parse_yaml, to_yaml


class PublishForm(forms.Form):
    """What both editors share."""

    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    message = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Say why: the message goes into the audit log. Nothing was changed."},
        help_text="Why this changes. Kept with the version and in the audit log.",
    )


class ConfigForm(PublishForm, SpecForm):
    """The spec field by field."""

    editor = "form"

    @staticmethod
    def initial_of(spec: PoolSpec) -> dict[str, Any]:
        return SpecForm.initial_of(spec)


class YamlForm(PublishForm):
    """The spec as text."""

    editor = "yaml"
    text = forms.CharField(
        label="Spec",
        strip=False,
        widget=forms.Textarea(attrs={"class": "pw-code", "rows": 24, "spellcheck": "false"}),
        error_messages={"required": "An empty text is no spec."},
    )

    def __init__(self, data: Any = None, **options: Any) -> None:
        self.spec: PoolSpec | None = None
        super().__init__(data, **options)

    @property
    def chosen(self) -> PoolSpec:
        """The spec of a valid form."""
        assert self.spec is not None
        return self.spec

    @staticmethod
    def initial_of(spec: PoolSpec) -> dict[str, Any]:
        return {"text": to_yaml(spec)}

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        try:
            self.spec = parse_yaml(text)
        except SpecError as error:
            raise forms.ValidationError([_said(fault) for fault in error.errors]) from None
        return text


class RestoreForm(forms.Form):
    """Going back to an older version, as a new one."""

    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(
        error_messages={"required": "Say why: the reason is kept with the version. Nothing was changed."}
    )


def _said(fault: FieldError) -> str:
    if fault.path:
        return f"{fault.path}: {fault.message}."
    return f"Line {fault.line}: {fault.message}." if fault.line else f"{fault.message[:1].upper()}{fault.message[1:]}."
