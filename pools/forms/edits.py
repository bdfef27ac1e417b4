"""The arguments of a call as JSON that a person edits."""

from typing import Any

from django import forms

from pools.broker.payload_edit import EDIT_LIMIT, strict_json
from pools.forms.verbs import WHY

REVIEW, EDIT = "review", "edit"


class ArgumentsForm(forms.Form):
    """``seen`` is the SHA-256 of the stored payload that the page showed. Cleaned, the others are a list and a dict."""

    seen = forms.CharField(max_length=64, widget=forms.HiddenInput)
    args = forms.CharField(
        label="Positional arguments",
        max_length=EDIT_LIMIT,
        help_text="A JSON list.",
        widget=forms.Textarea(attrs={"class": "pw-code pw-short", "rows": 6, "spellcheck": "false"}),
        error_messages={"required": "Must be a JSON list: [] for none."},
    )
    kwargs = forms.CharField(
        label="Arguments by name",
        max_length=EDIT_LIMIT,
        help_text="A JSON object.",
        widget=forms.Textarea(attrs={"class": "pw-code pw-short", "rows": 14, "spellcheck": "false"}),
        error_messages={"required": "Must be a JSON object: {} for none."},
    )

    def clean_args(self) -> list[Any]:
        value = _parsed(self.cleaned_data["args"])
        if not isinstance(value, list):
            raise forms.ValidationError('Must be a JSON list, such as [1, "two"].')
        return value

    def clean_kwargs(self) -> dict[str, Any]:
        value = _parsed(self.cleaned_data["kwargs"])
        if not isinstance(value, dict):
            raise forms.ValidationError('Must be a JSON object, such as {"order": 7}.')
        return value


class EditForm(ArgumentsForm):
    """The same, confirmed with a reason."""

    reason = forms.CharField(error_messages={"required": WHY}, widget=forms.Textarea(attrs={"rows": 2}))


def _parsed(text: str) -> Any:
    try:
        return strict_json(text)
    except ValueError as error:
        raise forms.ValidationError(f"{error} Nothing was changed.") from error
