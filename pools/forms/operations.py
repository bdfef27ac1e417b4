"""What a person says when moving an operation, or planning one."""

from typing import Any

from django import forms

from pools.forms.dead_letters import ConfirmForm
from pools.forms.verbs import WHY
from pools.operations.plan import MAX_CANARY, MAX_RATE, TIMEOUT, TIMEOUTS, Canary, Plan

MINUTE = 60
CANARY_SIZE, MIN_SUCCESS, SAME_FAILURE = 20, 95, 5  # what the form suggests


class MoveForm(forms.Form):
    reason = forms.CharField(required=False)


class WhyForm(MoveForm):
    """What cannot be taken back, or goes against a guard: the log keeps why."""

    reason = forms.CharField(error_messages={"required": WHY}, widget=forms.Textarea(attrs={"rows": 2}))


class ApproveForm(WhyForm):
    """``ids_sha256`` is the frozen set that the page showed."""

    ids_sha256 = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)


class RateForm(MoveForm):
    rate_per_second = forms.IntegerField(
        label="Jobs a second",
        required=False,
        min_value=1,
        max_value=MAX_RATE,
        help_text="Empty: as fast as it goes.",
    )


def _number(words: str, lowest: int, highest: int) -> forms.IntegerField:
    widget = forms.NumberInput(attrs={"class": "form-control", "aria-label": words})
    return forms.IntegerField(label=words, required=False, min_value=lowest, max_value=highest, widget=widget)


class RequeueForm(ConfirmForm):
    """The plan's fields are optional: an empty one asks for nothing. ``plan`` is what came of them."""

    canary_count = _number("Canary, jobs", 1, MAX_CANARY)
    canary_min_success = _number("Canary, percent that must succeed", 1, 100)
    canary_minutes = _number("Canary, minutes to wait", 1, TIMEOUTS[1] // MINUTE)
    rate_per_second = _number("Rate, jobs a second", 1, MAX_RATE)
    stop_same_failure = _number("Same failure, percent that stops", 1, 99)

    orphans_stay = forms.BooleanField(required=False, widget=forms.CheckboxInput(attrs={"class": "form-check-input"}))

    PLAN = (
        "canary_count",
        "canary_min_success",
        "canary_minutes",
        "rate_per_second",
        "stop_same_failure",
        "orphans_stay",
    )

    @property
    def plan_errors(self) -> list[str]:
        """Each with the name of its field."""
        return [f"{self[name].label}: {error}" for name in self.PLAN for error in self[name].errors]

    def clean(self) -> dict[str, Any]:
        data = dict(self.cleaned_data)
        count, percent, minutes, rate, same, orphans_stay = (data.pop(name, None) for name in self.PLAN)
        canary = None
        if count:
            canary = Canary(count, percent or MIN_SUCCESS, minutes * MINUTE if minutes else TIMEOUT)
        return data | {"plan": Plan(canary, rate, same, bool(orphans_stay))}


class MoveQueueForm(RequeueForm):
    """``to_queue``: the page's datalist suggests those that the visitor may use."""

    to_queue = forms.CharField(
        label="To queue",
        max_length=255,
        error_messages={"required": "Say to which queue. Nothing was changed."},
        help_text="A queue of a pool on the same broker, where you may requeue as well.",
        widget=forms.TextInput(attrs={"list": "queues", "autocomplete": "off"}),
    )


def suggested(count: int) -> dict[str, int]:
    """A careful plan for so many jobs. A canary that is everything would decide about nothing."""
    plan = {"canary_min_success": MIN_SUCCESS, "canary_minutes": TIMEOUT // MINUTE, "stop_same_failure": SAME_FAILURE}
    return plan | ({"canary_count": CANARY_SIZE} if count > CANARY_SIZE else {})
