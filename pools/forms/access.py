"""Giving and taking a role."""

from django import forms
from django.contrib.auth.models import User

from pools.forms.verbs import WHY
from pools.models import Team
from pools.permissions import ROLE_GRANTS

ROLES = {
    "viewer": "viewer: sees, changes nothing",
    "oncall": "on call: requeues, discards, pauses",
    "operator": "operator: also publishes config and scales",
    "approver": "approver: will approve config versions",
    "auditor": "auditor: also reads the audit log",
    "admin": "admin: everything, roles included",
}


class RoleForm(forms.Form):
    user = forms.ModelChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        to_field_name="username",
        label="Person",
        empty_label=None,
    )
    team = forms.ModelChoiceField(Team.objects.order_by("name"), to_field_name="slug", empty_label=None)
    role = forms.ChoiceField(choices=[(role, ROLES[role]) for role in ROLE_GRANTS])
    reason = forms.CharField(error_messages={"required": WHY}, widget=forms.Textarea(attrs={"rows": 2}))
