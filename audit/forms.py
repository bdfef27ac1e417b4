"""The timeline's filters, as they stand in its address."""

from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import QueryDict

from audit.actions import ACTIONS
from audit.models import ExportKind, Outcome
from audit.recorder import REASON_LIMIT
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


WHY = "Say why: the reason goes into the audit log. Nothing was changed."


class ExportForm(forms.Form):
    """What to write, and why; the filters come in the address."""

    kind = forms.ChoiceField(
        label="Format",
        choices=[
            (ExportKind.BUNDLE, "Evidence bundle, which proves itself"),
            (ExportKind.CSV, "CSV, for a spreadsheet"),
            (ExportKind.JSONL, "JSON lines, one event a line"),
        ],
        initial=ExportKind.BUNDLE,
    )
    personal = forms.BooleanField(
        label="With personal values",
        required=False,
        help_text="Addresses, sessions and the like, as far as they are not erased.",
    )
    reason = forms.CharField(error_messages={"required": WHY}, max_length=REASON_LIMIT, widget=forms.Textarea)


class EraseForm(forms.Form):
    """``field`` empty: every personal field of the event. ``everywhere``: in every event with these values."""

    field = forms.CharField(required=False, max_length=500)
    everywhere = forms.BooleanField(required=False)
    reason = forms.CharField(error_messages={"required": WHY}, max_length=REASON_LIMIT, widget=forms.Textarea)


class SaveFilterForm(forms.Form):
    """``query`` is the timeline's address from the question mark on; what is not a filter in it is left out."""

    name = forms.CharField(max_length=80, widget=_input())
    query = forms.CharField(required=False, max_length=4000, widget=forms.HiddenInput)

    def clean_query(self) -> str:
        filters = FilterForm(QueryDict(self.cleaned_data["query"].removeprefix("?")))
        if not filters.is_valid() or filters.filters() == Filters():
            raise forms.ValidationError("Narrow the timeline first, then save what it is narrowed to.")
        return urlencode(filters.filters().as_dict())
