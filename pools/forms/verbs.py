"""The small forms of verbs: a reason, and what the visitor saw."""

from django import forms

WHY = "Say why: the reason goes into the audit log. Nothing was changed."


class ReasonForm(forms.Form):
    """``expected_version`` is what the page showed: the verb is refused when that is no longer true."""

    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(error_messages={"required": WHY}, widget=forms.Textarea(attrs={"rows": 2}))


class ScaleForm(ReasonForm):
    workers = forms.IntegerField(
        label="Workers per agent",
        min_value=0,
        max_value=512,
        help_text="Processes that each agent keeps running. 0: none.",
        error_messages={"required": "Say how many. Nothing was changed."},
    )
