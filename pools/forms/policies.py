"""A pool's delivery policies as forms. Their rules are the schema's."""

from django import forms

from pools.forms.spec_fields import NumbersField, choice, defaults, described, lines, text, whole
from pools.spec import DeliveryPolicy

MAX_POLICIES = 64


class PolicyForm(forms.Form):
    """One policy. A policy without a task is none."""

    task = forms.CharField(**described(DeliveryPolicy.model_fields["task"], required=False))
    delivery = choice(DeliveryPolicy, "delivery", "at_most_once")
    losses = whole(DeliveryPolicy, "losses")
    deadline = whole(DeliveryPolicy, "deadline")
    idempotency_key = text(DeliveryPolicy, "idempotency_key")
    idempotency_keep = whole(DeliveryPolicy, "idempotency_keep")
    schema_versions = lines(DeliveryPolicy, "schema_versions", 2, NumbersField)
    failure_ttl = whole(DeliveryPolicy, "failure_ttl")
    fallback = text(DeliveryPolicy, "fallback")
    fallback_queue = text(DeliveryPolicy, "fallback_queue")


POLICY_DEFAULTS = defaults(DeliveryPolicy, "delivery", "losses", "deadline", "idempotency_keep", "failure_ttl")
PolicyFormSet = forms.formset_factory(PolicyForm, extra=0, max_num=MAX_POLICIES, absolute_max=MAX_POLICIES + 1)
