"""What people say when they decide about failure groups. ``owners`` are the usernames that a group may be given to."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from pools.forms.verbs import WHY

KEPT = "Kept in the audit log, readable by auditors."
SPANS = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "24h": timedelta(days=1), "7d": timedelta(days=7)}
ENDS = (
    ("1h", "for 1 hour"),
    ("4h", "for 4 hours"),
    ("24h", "for a day"),
    ("7d", "for a week"),
    ("until", "until the time below"),
    ("failures", "until as many more failures as below"),
    ("version", "until the next config version is published"),
)


def _reason(*, required: bool) -> forms.CharField:
    area = forms.Textarea(attrs={"rows": 2})
    return forms.CharField(required=required, error_messages={"required": WHY}, widget=area, help_text=KEPT)


class GroupForm(forms.Form):
    """``expected_version`` is the sum of the revisions that the page showed."""

    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    use_required_attribute = False

    def __init__(self, data: Any = None, *, owners: Sequence[str] = (), **options: Any) -> None:
        super().__init__(data, auto_id="group-%s", **options)
        if "owner" in self.fields:
            choice = self.fields["owner"]
            assert isinstance(choice, forms.ChoiceField)
            choice.choices = [("", "Nobody"), *((name, name) for name in owners)]


class PlainForm(GroupForm):
    reason = _reason(required=False)


class ResolveForm(GroupForm):
    reason = _reason(required=True)


class AssignForm(GroupForm):
    owner = forms.ChoiceField(required=False, help_text="Everybody who may see the pool.")
    reason = _reason(required=False)


class RunbookForm(GroupForm):
    url = forms.URLField(
        required=False,
        max_length=500,
        label="Runbook",
        assume_scheme="https",
        help_text="What to do about this cause: an http or https address. Empty: that of the pool.",
    )
    reason = _reason(required=False)


class NoteForm(GroupForm):
    text = forms.CharField(
        label="Note",
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Write something. Nothing was changed."},
        help_text=KEPT,
    )


class SnoozeForm(GroupForm):
    """Cleans to what ``group_snooze`` takes."""

    end = forms.ChoiceField(label="How long", choices=ENDS)
    until = forms.DateTimeField(required=False, label="Time", help_text="UTC, such as 2026-11-24 09:00.")
    failures = forms.IntegerField(required=False, label="More failures", min_value=1, max_value=10**9)
    reason = _reason(required=True)

    def clean(self) -> dict[str, Any]:
        data = dict(super().clean() or {})
        end = data.pop("end", "")
        if end in ("until", "failures") and data.get(end) is None and end not in self.errors:
            self.add_error(end, "Say when it ends. Nothing was changed.")
        for name in {"until", "failures"} - {end}:
            data[name] = None
        if end in SPANS:
            data["until"] = timezone.now() + SPANS[end]
        data["next_version"] = end == "version"
        return data
