"""The parts every page is built from. A built-in library: no ``{% load %}`` needed. docs/ui.md lists them by use.

No tag writes a ``style`` attribute (the CSP forbids it): geometry is SVG attributes, colour is classes.
Tones are the words ``bad warn ok run`` (states), ``out`` (an outlined chip) and ``""`` (calm).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.forms import BoundField, CheckboxInput, Select
from django.template import Context, Library
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from controlplane import wording
from controlplane.tracebacks import parse_traceback

register = Library()

SPRITE = "vendor/tabler-icons/sprite.svg"
FILL = {"ok": "pw-g", "bad": "pw-r", "warn": "pw-o", "run": "pw-b", "calm": "pw-n", "": ""}

for name in ("count", "compact", "duration"):
    register.filter(name, getattr(wording, name))
register.simple_tag(wording.duration, name="duration")
register.simple_tag(wording.percent, name="percent")


def _classes(*names: str) -> str:
    return " ".join(name for name in names if name)


@cache
def _sprite() -> str:
    return static(SPRITE)


@register.simple_tag
def icon(name: str, label: str = "", cls: str = "") -> SafeString:
    """An icon of the vendored sprite. With ``label`` it speaks for itself; without, it is decoration beside a word."""
    voice = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="{}" {}><use href="{}#tabler-{}"/></svg>', _classes("pw-i", cls), voice, _sprite(), name
    )


@register.simple_tag
def chip(tone: str, text: object, icon: str = "") -> SafeString:
    """A filled chip, for exceptions. The normal state is ``calm``."""
    mark = _icon(icon) if icon else ""
    return format_html('<span class="{}">{}{}</span>', _classes("pw-chip", tone and f"pw-{tone}"), mark, text)


@register.simple_tag
def calm(text: object, icon: str = "player-play", tone: str = "") -> SafeString:
    """The quiet form of a state: small icon and plain word. ``tone``: empty (fine), ``run`` (busy) or ``idle``."""
    return format_html(
        '<span class="{}">{}{}</span>', _classes("pw-st pw-calm", tone and f"pw-{tone}"), _icon(icon), text
    )


_icon = icon


@register.simple_tag
def spark(values: Sequence[float], label: str, tone: str = "", width: int = 88, height: int = 22) -> SafeString:
    """A sparkline from 0 to the largest value. ``label`` says in words what it shows."""
    points = _spark_points(list(values) or [0, 0], width, height)
    line = " ".join(f"{x:g},{y:g}" for x, y in points)
    last_x, last_y = points[-1]
    return format_html(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="pw-a" d="M{} L{},{} L0,{}Z"/><path class="pw-l" d="M{}"/>'
        '<circle class="pw-e" cx="{}" cy="{}" r="2"/></svg>',
        *(_classes("pw-spark", tone and f"pw-{tone}"), width, height, label),
        *(line, f"{last_x:g}", height, height, line, f"{last_x:g}", f"{last_y:g}"),
    )


def _spark_points(values: Sequence[float], width: int, height: int) -> list[tuple[float, float]]:
    """Room of 4 px at the right for the end dot, 1.5 px above and below for the stroke."""
    peak = max(values) or 1
    step = (width - 4) / max(len(values) - 1, 1)
    return [(round(i * step, 2), round(height - 1.5 - v / peak * (height - 3), 2)) for i, v in enumerate(values)]


@register.simple_tag
def bar(value: float, maximum: float, label: str, tone: str = "") -> SafeString:
    """How much of a limit is used. Grey until ``tone`` says that it crossed one."""
    share = min(max(value / maximum, 0), 1) * 100 if maximum else 0
    return format_html(
        '<svg class="pw-bar" role="img" aria-label="{}"><rect class="{}" x="0%" width="{}%" height="100%"/></svg>',
        *(label, FILL[tone], f"{share:g}"),
    )


@register.simple_tag
def stacked_bar(segments: Iterable[tuple[float, str]], total: float, label: str) -> SafeString:
    """A tall bar of ``(value, tone)`` pairs, left to right; a value that is not 0 is never too thin to see."""
    rects, x = [], 0.0
    for value, tone in segments:
        width = max(100 * value / total, 0.5) if value and total else 0.0
        rects.append((f"{x:.3f}", f"{width:.3f}", FILL[tone]))
        x += width
    drawn = format_html_join("", '<rect x="{}%" width="{}%" height="100%" class="{}"/>', rects)
    return format_html('<svg class="pw-bar pw-tall" role="img" aria-label="{}">{}</svg>', label, drawn)


@register.simple_tag
def ago(moment: datetime | None, short: bool = False) -> SafeString | str:
    """A ``<time>``: relative text, the exact UTC time on hover. ``short`` leaves out "ago"."""
    if moment is None:
        return wording.MISSING
    return _time(moment, wording.age(moment, short=short), ago="short" if short else "long")


@register.simple_tag
def clock(moment: datetime | None) -> SafeString | str:
    """A ``<time>`` that shows the wall clock, ``02:36:08 UTC`` or that of the visitor; date and UTC are on hover."""
    return wording.MISSING if moment is None else _time(moment, f"{moment.astimezone(UTC):%H:%M:%S} UTC", clock=True)


def _time(moment: datetime, text: str, ago: str = "", *, clock: bool = False) -> SafeString:
    """``ago`` marks what time.js keeps true, ``clock`` what it shows in local time to who wants that."""
    utc = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        *(f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M:%S} UTC"),
        *(format_html(' data-ago="{}"', ago) if ago else mark_safe(" data-clock") if clock else "", text),
    )


@register.simple_tag
def avatar(name: str) -> SafeString:
    """A person's initials in a circle; without a name, nobody."""
    if not name:
        return format_html(
            '<span class="pw-av pw-none" role="img" aria-label="{0}" title="{0}">{1}</span>', "Nobody", wording.MISSING
        )
    initials = "".join(word[0] for word in name.split()[:2]).upper()
    return format_html('<span class="pw-av" role="img" aria-label="{0}" title="{0}">{1}</span>', name, initials)


@register.simple_tag
def copyable(value: object, what: str = "id") -> SafeString:
    """An id in monospace with a button that copies it."""
    return format_html(
        '<span class="pw-copy"><code>{0}</code><button class="pw-icb pw-icb-s pw-js" type="button" data-copy="{0}" '
        'aria-label="Copy {1} {0}" title="Copy">{2}</button></span>',
        *(value, what, icon("copy", cls="pw-i-s")),
    )


@register.simple_tag
def diff_lines(lines: Iterable[Any], label: str) -> SafeString:
    """Lines with ``kind`` (space, ``+`` or ``-``) and ``text``, as ``pools.spec.diff_lines`` returns them."""
    kinds = {"+": "pw-add", "-": "pw-del"}
    rows = ((kinds.get(line.kind, ""), line.kind, line.text) for line in lines)
    return format_html(
        '<div class="pw-diff" role="region" tabindex="0" aria-label="{}">{}</div>',
        *(label, format_html_join("", '<div class="{}">{} {}</div>', rows)),
    )


@register.inclusion_tag("components/traceback.html")
def traceback(text: str, label: str = "Frames of the traceback") -> dict[str, Any]:
    """A Python traceback: the application's frames stand out, runs of library frames fold into one line."""
    return {"blocks": parse_traceback(text), "label": label}


@register.inclusion_tag("components/field.html")
def field(bound: BoundField) -> dict[str, Any]:
    """A form field with its label, help and errors beside it; Django wires ``aria-describedby`` to both."""
    widget = bound.field.widget
    is_check = isinstance(widget, CheckboxInput)
    style = "form-check-input" if is_check else "form-select" if isinstance(widget, Select) else "form-control"
    invalid = "is-invalid" if bound.errors else ""
    attrs: dict[str, str | bool] = {"class": _classes(style, widget.attrs.get("class", ""), invalid)}
    return {"field": bound, "widget": bound.as_widget(attrs=attrs), "is_check": is_check}


@register.inclusion_tag("components/chart.html")
def chart(id: str, data: dict[str, Any], label: str, height: int = 160) -> dict[str, Any]:
    """A chart over time that uPlot draws; without JavaScript a plain line of the first series.

    ``data`` is ``{"times": […], "series": [{"label", "values", "tone"?}], "marks": [{"at", "label", "tone"?}]}``
    with unix seconds; the tone of a mark may also be ``accent`` (a config version).
    The page adds ``{% block scripts %}{% include "shell/chart_scripts.html" %}{% endblock %}``.
    """
    first = data["series"][0]["values"]
    return {"id": id, "data_id": f"{id}-data", "data": data, "label": label, "height": height, "first": first}


@register.simple_block_tag(takes_context=True)
def confirm(context: Context, content: str, id: str, title: str, live: bool = False, **form: Any) -> str:
    """A ``<dialog>`` around ``confirm_form``. Open it with ``<a href="the verb's own page" data-dialog="ID">``.

    ``live``: its words stay fresh; what is typed, and whether it is open, stays as it is.
    """
    body = _confirm_form(context, content, key=id, **form)
    return render_to_string("components/confirm.html", {"id": id, "title": title, "form": body, "live": live})


@register.simple_block_tag(takes_context=True)
def confirm_form(context: Context, content: str, **form: Any) -> str:
    """The POST form of one verb: what it touches (the block), a reason, a button named by its effect.

    ``action``, ``button``; optional ``tone="bad"``, ``reason`` (typed before), ``error``, ``next``, ``cancel`` (URL),
    ``dismiss`` (what Cancel says instead).
    """
    return _confirm_form(context, content, **form)


def _confirm_form(context: Context, content: str, key: str = "page", **form: Any) -> str:
    """``key`` keeps the ids of several forms on one page apart."""
    csrf_token = context.get("csrf_token")
    values = {"content": content, "key": key, "csrf_token": csrf_token, **form}
    return render_to_string("components/confirm_form.html", values)


@register.simple_block_tag
def bulk_bar(content: str, rows: str, **totals: Any) -> str:
    """What is selected, in words, and the buttons of the block. ``rows``: the noun of a row, ``group|groups``.

    ``weight="job|jobs"`` adds up the rows' ``data-weight``. ``matching`` (rows) and ``matching_weight``: how many the
    filter matches in all; offers to select those. In a button, ``data-count="Requeue {n} {job|jobs}…"`` is live text.
    """
    plural = rows.rpartition("|")[2]
    return render_to_string("components/bulk_bar.html", {"content": content, "rows": rows, "plural": plural, **totals})


@register.simple_tag(takes_context=True)
def theme(context: Context) -> str:
    """What the visitor chose: ``light``, ``dark`` or ``auto`` (as the system has it, applied by theme.js)."""
    request = context.get("request")
    chosen = request.COOKIES.get("pw_theme", "auto") if request else "auto"
    return chosen if chosen in ("light", "dark") else "auto"
