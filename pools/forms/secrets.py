"""Secret references: a name and where its value lives. No field takes a value."""

from typing import Any

from django import forms
from django.db.models import QuerySet

from pools.models import Team

URI_HELP = "file:///absolute/path or env://NAME, where the worker's host can read it. Never the value itself."


class SecretChangeForm(forms.Form):
    """``expected_version`` is the revision that the page showed."""

    expected_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    uri = forms.CharField(
        label="Reference", max_length=500, widget=forms.TextInput({"spellcheck": "false"}), help_text=URI_HELP
    )
    description = forms.CharField(required=False, max_length=500, help_text="What it opens, and who renews it.")


class SecretForm(forms.Form):
    """A new reference."""

    name = forms.SlugField(max_length=100, help_text="What tasks ask for: letters, digits, - and _. It stays.")
    uri = SecretChangeForm.base_fields["uri"]
    team = forms.ModelChoiceField(Team.objects.none(), to_field_name="slug", empty_label=None)
    description = SecretChangeForm.base_fields["description"]

    def __init__(self, data: Any, *, teams: QuerySet[Team]) -> None:
        super().__init__(data)
        choice = self.fields["team"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = teams
