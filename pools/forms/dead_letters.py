"""What confirms a bulk action."""

from django import forms

from pools.forms.verbs import WHY

LONGEST_NUMBER = 18  # digits of a row's number


class ConfirmForm(forms.Form):
    """``expected_count`` is what the page showed: the verb is refused when it no longer holds."""

    expected_count = forms.IntegerField(required=False, min_value=0, max_value=2**31, widget=forms.HiddenInput)
    reason = forms.CharField(error_messages={"required": WHY}, widget=forms.Textarea(attrs={"rows": 2}))


def chosen(values: list[str]) -> tuple[int, ...]:
    """The row numbers among posted values; whatever is no number was no row of ours."""
    numbers = (value for value in values if value.isascii() and value.isdigit() and len(value) <= LONGEST_NUMBER)
    return tuple(dict.fromkeys(map(int, numbers)))
