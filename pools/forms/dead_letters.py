"""The filter of dead letters as a form, and what confirms a bulk action."""

from django import forms

from pools.forms.verbs import WHY
from pools.models import DeadLetterState
from pools.selectors.group_life import SHOWN_STATES

GROUP_STATES = [("", "All"), *((state, state.capitalize()) for state in SHOWN_STATES)]
LONGEST_NUMBER = 18  # digits of a row's number


class FilterForm(forms.Form):
    """Every field of the filter that a person may want to type. ``DeadLetterFilter`` reads and judges the values."""

    q = forms.CharField(required=False, label="Text", help_text="Words of the error message, or a job's id.")
    pool = forms.ChoiceField(required=False)
    queue = forms.CharField(required=False)
    task = forms.CharField(required=False, help_text="The function's dotted name.")
    error = forms.CharField(required=False, help_text="An exception's name, with or without its module.")
    group_state = forms.ChoiceField(required=False, label="State of the group", choices=GROUP_STATES)
    owner = forms.CharField(required=False, help_text="Of the group: a username, me or none.")
    since = forms.CharField(required=False, help_text="UTC, such as 2026-11-22 02:00, or so long ago: 15m, 24h, 7d.")
    until = forms.CharField(required=False)
    state = forms.ChoiceField(
        required=False, label="State of the job", choices=[("", "Dead"), *DeadLetterState.choices[1:], ("any", "Any")]
    )

    use_required_attribute = False

    def __init__(self, values: dict[str, str], *, pools: list[str]) -> None:
        super().__init__(initial=values)
        choice = self.fields["pool"]
        assert isinstance(choice, forms.ChoiceField)
        choice.choices = [("", "All pools"), *((slug, slug) for slug in pools)]


class ConfirmForm(forms.Form):
    """``expected_count`` is what the page showed: the verb is refused when it no longer holds."""

    expected_count = forms.IntegerField(required=False, min_value=0, max_value=2**31, widget=forms.HiddenInput)
    reason = forms.CharField(error_messages={"required": WHY}, widget=forms.Textarea(attrs={"rows": 2}))


def chosen(values: list[str]) -> tuple[int, ...]:
    """The row numbers among posted values; whatever is no number was no row of ours."""
    numbers = (value for value in values if value.isascii() and value.isdigit() and len(value) <= LONGEST_NUMBER)
    return tuple(dict.fromkeys(map(int, numbers)))
