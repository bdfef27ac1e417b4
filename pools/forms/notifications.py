"""Notification channels. No field takes a secret: a webhook's key is in the controller's environment."""

from typing import Any

from django import forms
from django.db.models import QuerySet

from pools.models import ChannelKind, Criticality, NotificationChannel, Occasion, Pool, Team
from pools.operations.notifications import MOST_PER_HOUR, Wanted


def _clock(example: str) -> forms.TimeInput:
    return forms.TimeInput({"placeholder": example}, format="%H:%M")


class ChannelChangeForm(forms.Form):
    """``expected_version`` is the revision that the page showed."""

    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    kind = forms.ChoiceField(choices=ChannelKind.choices)
    url = forms.CharField(
        required=False,
        max_length=500,
        label="Address of the webhook",
        widget=forms.TextInput({"spellcheck": "false", "inputmode": "url"}),
        help_text="https, without a password or a query. It is shown here in plain.",
    )
    recipients = forms.CharField(
        required=False,
        max_length=6000,
        label="Recipients of the e-mail",
        widget=forms.Textarea({"rows": 3, "spellcheck": "false"}),
        help_text="Mail addresses, each on a line of its own.",
    )
    pool = forms.ModelChoiceField(
        Pool.objects.none(), required=False, to_field_name="slug", empty_label="All pools of the team"
    )
    min_criticality = forms.ChoiceField(
        label="Least criticality",
        choices=[(level.value, level.label) for level in reversed(Criticality)],
        initial=Criticality.LOW,
        help_text="Pools that are less critical are left out.",
    )
    on_new = forms.BooleanField(required=False, initial=True, label="New failure groups")
    on_regressed = forms.BooleanField(required=False, initial=True, label="Regressions: resolved, and failing again")
    on_spike = forms.BooleanField(required=False, initial=True, label="Spikes: far more failures than usual")
    quiet_from = forms.TimeField(required=False, label="Quiet from", widget=_clock("22:00"))
    quiet_to = forms.TimeField(required=False, label="Quiet until", widget=_clock("07:00"))
    quiet_zone = forms.CharField(max_length=100, initial="UTC", label="Time zone", help_text="Such as Europe/Berlin.")
    per_hour = forms.IntegerField(
        min_value=1,
        max_value=MOST_PER_HOUR,
        initial=12,
        label="Messages an hour at most",
        help_text="What comes beyond waits, and is in the next message.",
    )
    enabled = forms.BooleanField(required=False, initial=True, label="Send messages")

    def __init__(self, data: Any, *, pools: QuerySet[Pool], **options: Any) -> None:
        super().__init__(data, **options)
        choice = self.fields["pool"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = pools

    def wanted(self) -> Wanted:
        """What the operation takes."""
        data = self.cleaned_data
        same = ("kind", "url", "pool", "min_criticality", "quiet_from", "quiet_to", "quiet_zone", "per_hour", "enabled")
        return Wanted(
            recipients=data["recipients"].splitlines(),
            occasions=[occasion.value for occasion in Occasion if data[f"on_{occasion}"]],
            **{name: data[name] for name in same},
        )

    @staticmethod
    def initial_of(channel: NotificationChannel) -> dict[str, Any]:
        same = ("kind", "url", "min_criticality", "quiet_from", "quiet_to", "quiet_zone", "per_hour", "enabled")
        return {name: getattr(channel, name) for name in same} | {
            "expected_version": channel.revision,
            "pool": channel.pool,
            "recipients": "\n".join(channel.recipients),
            **{f"on_{occasion}": occasion in channel.occasions for occasion in Occasion},
        }


class ChannelForm(ChannelChangeForm):
    """A new one."""

    name = forms.CharField(
        max_length=50, help_text="Small letters, digits and -. It stays, for the key is named by it."
    )
    team = forms.ModelChoiceField(Team.objects.none(), to_field_name="slug", empty_label=None)
    field_order = ["name", "team"]

    def __init__(self, data: Any, *, teams: QuerySet[Team], pools: QuerySet[Pool]) -> None:
        super().__init__(data, pools=pools)
        choice = self.fields["team"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = teams
