"""Forms of a pool's description and of the list's filter."""

import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import QuerySet

from pools.arguments import PATHS_EACH
from pools.forms.spec import SpecForm
from pools.models import Criticality, Pool, Team
from pools.models.pool import DEFAULT_LIMITS

SHOW = {"": "All", "trouble": "In trouble"}


class PoolFilterForm(forms.Form):
    """A filter never fails: what cannot be understood is left out."""

    q = forms.CharField(required=False, max_length=100, label="Filter")
    team = forms.ChoiceField(required=False)
    show = forms.ChoiceField(required=False, choices=list(SHOW.items()))

    def __init__(self, data: Any, *, teams: Iterable[Team]) -> None:
        super().__init__(data)
        choice = self.fields["team"]
        assert isinstance(choice, forms.ChoiceField)
        choice.choices = [("", "All teams")] + [(team.slug, team.name) for team in teams]

    def wanted(self) -> dict[str, str]:
        self.is_valid()
        return {name: self.cleaned_data.get(name, "") for name in self.fields}


class PoolEditForm(forms.Form):
    """``expected_version`` is the revision that the page showed."""

    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    name = forms.CharField(max_length=100, help_text="What people call it.")
    description = forms.CharField(
        required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3}), help_text="What its jobs do."
    )
    runbook_url = forms.URLField(
        required=False,
        max_length=500,
        label="Runbook",
        assume_scheme="https",
        help_text="Where whoever is called at night finds what to do. An http or https address.",
    )
    criticality = forms.ChoiceField(choices=Criticality.choices, initial=Criticality.STANDARD)
    approval_limit = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        label="Approval above, dead letters",
        help_text=f"An operation on more needs a second person. Empty: {DEFAULT_LIMITS[Criticality.CRITICAL]:,} "
        "for a critical pool, otherwise none does. Allowing more than before takes pools.approve_operations.",
    )
    poison_after = forms.IntegerField(
        min_value=0,
        max_value=100,
        label="Poison",
        help_text="A job that fails again for the same cause after so many requeues is quarantined. 0: never.",
    )

    searchable_arguments = forms.CharField(
        required=False,
        max_length=1000,
        label="Searchable arguments",
        help_text=f"At most {PATHS_EACH} paths with commas between, such as user.id, 0.order: names of arguments or "
        "their places, then names inside. Who may reveal payloads finds dead letters by them. Pickles are not read.",
    )

    def clean_searchable_arguments(self) -> list[str]:
        return [path for path in re.split(r"[\s,]+", self.cleaned_data["searchable_arguments"]) if path]

    @staticmethod
    def initial_of(pool: Pool) -> dict[str, Any]:
        shown = ("name", "description", "runbook_url", "criticality", "approval_limit", "poison_after")
        values = {name: getattr(pool, name) for name in shown} | {"expected_version": pool.revision}
        return values | {"searchable_arguments": ", ".join(pool.searchable_arguments)}


class PoolForm(SpecForm):
    """A new pool: what describes it, and its first spec."""

    slug = forms.SlugField(
        max_length=60, label="Short name", help_text="Letters, digits and -; it stays and is part of addresses."
    )
    name = forms.CharField(max_length=100, required=False, help_text="What people call it; the short name if empty.")
    team = forms.ModelChoiceField(
        Team.objects.none(), to_field_name="slug", empty_label=None, help_text="Its roles get their rights on the pool."
    )
    criticality = forms.ChoiceField(choices=Criticality.choices, initial=Criticality.STANDARD)
    description = PoolEditForm.base_fields["description"]
    runbook_url = PoolEditForm.base_fields["runbook_url"]
    approval_limit = PoolEditForm.base_fields["approval_limit"]

    def __init__(self, data: Any, *, teams: QuerySet[Team], **options: Any) -> None:
        super().__init__(data, **options)
        choice = self.fields["team"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = teams

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug == "new":
            raise forms.ValidationError("“new” is the address of this page. Choose another short name.")
        return slug

    def described(self) -> dict[str, Any]:
        """What ``pool_create`` takes besides the spec."""
        names = ("slug", "name", "team", "criticality", "description", "runbook_url", "approval_limit")
        return {name: self.cleaned_data[name] for name in names}
