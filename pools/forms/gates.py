"""A pool's breakers and limits as forms. Their rules are the schema's."""

from django import forms

from pools.forms.spec_fields import defaults, described, lines, text, whole
from pools.spec import BreakerRule, LimitRule

MAX_GATES = 32


class BreakerForm(forms.Form):
    """One breaker. A breaker without a name is none."""

    name = forms.CharField(**described(BreakerRule.model_fields["name"], required=False))
    tasks = lines(BreakerRule, "tasks", 2)
    failures = whole(BreakerRule, "failures")
    window = whole(BreakerRule, "window")
    open_for = whole(BreakerRule, "open_for")
    probes = whole(BreakerRule, "probes")
    errors = lines(BreakerRule, "errors", 2)  # type: ignore[assignment]  # Django takes fields out of the class


class LimitForm(forms.Form):
    """One limit. A limit without a name is none."""

    name = forms.CharField(**described(LimitRule.model_fields["name"], required=False))
    tasks = lines(LimitRule, "tasks", 2)
    per_second = whole(LimitRule, "per_second")
    burst = whole(LimitRule, "burst")
    concurrency = whole(LimitRule, "concurrency")
    by = text(LimitRule, "by")


BREAKER_DEFAULTS = defaults(BreakerRule, "failures", "window", "open_for", "probes")
LIMIT_DEFAULTS = defaults(LimitRule, "per_second", "burst", "concurrency")
BreakerFormSet = forms.formset_factory(BreakerForm, extra=0, max_num=MAX_GATES, absolute_max=MAX_GATES + 1)
LimitFormSet = forms.formset_factory(LimitForm, extra=0, max_num=MAX_GATES, absolute_max=MAX_GATES + 1)
