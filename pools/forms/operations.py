"""What a person says when moving an operation."""

from django import forms

from pools.forms.verbs import WHY


class MoveForm(forms.Form):
    reason = forms.CharField(required=False)


class CancelForm(MoveForm):
    """What is cancelled does not come back, so the log keeps why."""

    reason = forms.CharField(error_messages={"required": WHY}, widget=forms.Textarea(attrs={"rows": 2}))
