"""A pool's cron entries as forms. Their rules are the schema's; arguments are typed as JSON."""

import json
from typing import Any

from django import forms
from pydantic.fields import FieldInfo

from pools.signing.strict_json import parse
from pools.spec import CronEntry

MAX_ENTRIES = 64
OVERLAP = {"skip": "Skip the slot", "allow": "Enqueue both"}
CATCH_UP = {"none": "None", "last": "The last one", "all": "All, up to 100"}


class ArgumentsField(forms.CharField):
    """A list or a group of values as JSON; nothing typed is no arguments."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        try:
            return parse(text.encode()) if text else []
        except ValueError:
            raise forms.ValidationError('Must be JSON of text and whole numbers, such as ["eu", 7].') from None

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or [], data)

    def run_validators(self, value: Any) -> None:
        """The schema judges the values."""


def _of(name: str) -> dict[str, Any]:
    info: FieldInfo = CronEntry.model_fields[name]
    initial = info.default if isinstance(info.default, str) else None
    return {"label": info.title, "help_text": info.description, "required": info.is_required(), "initial": initial}


def _text(name: str) -> forms.CharField:
    return forms.CharField(widget=forms.TextInput({"spellcheck": "false"}), **_of(name))


class EntryForm(forms.Form):
    """One entry. An entry without a name is none."""

    name = forms.CharField(widget=forms.TextInput({"spellcheck": "false"}), **_of("name") | {"required": False})
    task = _text("task")
    schedule = _text("schedule")
    timezone = _text("timezone")
    args = ArgumentsField(widget=forms.TextInput({"spellcheck": "false"}), **_of("args"))
    queue = _text("queue")
    overlap = forms.ChoiceField(choices=list(OVERLAP.items()), **_of("overlap") | {"required": True})
    catch_up = forms.ChoiceField(choices=list(CATCH_UP.items()), **_of("catch_up") | {"required": True})


EntryFormSet = forms.formset_factory(EntryForm, extra=0, max_num=MAX_ENTRIES, absolute_max=MAX_ENTRIES + 1)
EMPTY = {name: str(field.initial) for name, field in EntryForm.base_fields.items() if isinstance(field.initial, str)}
