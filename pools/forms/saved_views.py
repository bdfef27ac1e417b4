"""Saved views: the name of one, with whom it is shared, and whether to begin with it."""

from typing import Any
from urllib.parse import parse_qsl

from django import forms
from django.db.models import QuerySet

from pools.models import Team
from pools.selectors.dead_letters import DeadLetterFilter, FilterError


class NameForm(forms.Form):
    name = forms.CharField(max_length=80, error_messages={"required": "Give it a name. Nothing was changed."})


class SaveForm(NameForm):
    """``query`` is the inbox's, and cleans to its filter; ``team`` offers those with which the person may share."""

    query = forms.CharField(required=False, max_length=20_000, widget=forms.HiddenInput)
    team = forms.ModelChoiceField(
        Team.objects.none(),
        to_field_name="slug",
        required=False,
        empty_label="Nobody, it is mine",
        label="Share with",
        help_text="Its people find the view above their inbox.",
    )

    def __init__(self, data: Any = None, *, teams: QuerySet[Team]) -> None:
        super().__init__(data)
        choice = self.fields["team"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = teams

    def clean_query(self) -> DeadLetterFilter:
        try:
            return DeadLetterFilter.from_query(dict(parse_qsl(self.cleaned_data["query"].removeprefix("?"))))
        except FilterError as error:
            raise forms.ValidationError(f"The filter cannot be read: {error}. Nothing was changed.") from error


class RemoveForm(forms.Form):
    pass


class DefaultForm(forms.Form):
    default = forms.BooleanField(required=False)
