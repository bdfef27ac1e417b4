"""The timeline's filters, as they stand in its address."""

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from audit.actions import ACTIONS
from audit.models import Outcome
from audit.selectors import Filters

# No moment that overflows in another time zone.
MOMENTS = [MinValueValidator(datetime(1970, 1, 1, tzinfo=UTC)), MaxValueValidator(datetime(9000, 1, 1, tzinfo=UTC))]


def _action_choices() -> list[tuple[str, Any]]:
    rooms = groupby(sorted(ACTIONS), key=lambda action: action.partition(".")[0])
    groups = [(room, [(room, f"{room}, any"), *((action, action) for action in actions)]) for room, actions in rooms]
    return [("", "Any action"), *groups]


def _input(attrs: dict[str, str] | None = None) -> forms.TextInput:
    return forms.TextInput({"class": "form-control"} | (attrs or {}))


def _select() -> forms.Select:
    return forms.Select({"class": "form-select"})


class FilterForm(forms.Form):
    """Reads ``request.GET``. ``cursor`` is the index below which a page begins."""

    q = forms.CharField(label="Text", required=False, max_length=500, widget=_input({"data-filter": ""}))
    actor = forms.CharField(required=False, max_length=500, widget=_input())
    action = forms.ChoiceField(required=False, choices=_action_choices, widget=_select())
    target = forms.CharField(required=False, max_length=500, widget=_input())
    pool = forms.CharField(required=False, max_length=500, widget=_input())
    outcome = forms.ChoiceField(required=False, choices=[("", "Any outcome"), *Outcome.choices], widget=_select())
    since = forms.DateTimeField(required=False, validators=MOMENTS, help_text="2026-11-22 02:00, UTC", widget=_input())
    until = forms.DateTimeField(required=False, validators=MOMENTS, help_text="not included", widget=_input())
    cursor = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    use_required_attribute = False

    def filters(self) -> Filters:
        """Only after ``is_valid``."""
        return Filters(**{name: value for name, value in self.cleaned_data.items() if name != "cursor"})
