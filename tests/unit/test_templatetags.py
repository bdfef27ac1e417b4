"""The components: what they say, that they escape, and that no page can need an inline style or script."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django import forms
from django.contrib.messages import ERROR
from django.contrib.messages.storage.base import Message
from django.template import Context, Template
from django.template.loader import render_to_string
from django.test import RequestFactory

from controlplane import wording
from controlplane.templatetags import pw
from controlplane.tracebacks import parse_traceback

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
EVIL = "<b>\"'&"
NOW = datetime(2026, 11, 22, 2, 31, 4, tzinfo=UTC)


def render(source: str, **context: object) -> str:
    return Template(source).render(Context(context))


@pytest.mark.parametrize(
    "tag",
    [
        '{% icon "lock" evil %}',
        '{% chip "bad" evil icon="lock" %}',
        "{% calm evil %}",
        "{% spark values evil %}",
        "{% bar 1 2 evil %}",
        "{% stacked_bar segments 2 evil %}",
        "{% avatar evil %}",
        "{% copyable evil %}",
        "{% diff_lines lines evil %}",
        "{% traceback evil evil %}",
        '{% chart "c" chart evil %}',
        '{% confirm "c" title=evil action=evil button=evil error=evil reason=evil %}{{ evil }}{% endconfirm %}',
        "{% bulk_bar evil weight=evil matching=3 %}{{ evil }}{% endbulk_bar %}",
        '{% include "components/empty.html" with title=evil text=evil action=evil action_url=evil %}',
        '{% include "components/empty.html" with filtered=True many=evil clear_url=evil %}',
        '{% include "components/locked_why.html" with label=evil why=evil permission=evil on=evil granters=evil %}',
        '{% include "components/stale.html" with what=evil text=evil %}',
        '{% include "components/messages.html" %}',
    ],
)
def test_text_is_escaped_and_styles_stay_out(tag: str) -> None:
    chart = {"times": [1], "series": [{"label": EVIL, "values": [1]}], "marks": [{"at": 1, "label": EVIL}]}
    html = render(
        tag,
        evil=EVIL,
        values=[1],
        segments=[(1, "ok")],
        lines=[SimpleNamespace(kind="+", text=EVIL)],
        chart=chart,
        messages=[Message(ERROR, EVIL)],
    )
    assert html.strip()
    assert "<b>" not in html
    assert not re.search(r"\sstyle=|\son\w+=", html)


def test_icon_with_a_label_speaks_and_without_one_is_silent() -> None:
    assert 'role="img" aria-label="Failing"' in pw.icon("flame", "Failing")
    assert 'aria-hidden="true"' in pw.icon("flame")
    assert "sprite.svg#tabler-flame" in pw.icon("flame")


def test_every_icon_in_use_is_vendored() -> None:
    sprite = (ROOT / "static" / pw.SPRITE).read_text()
    vendored = set(re.findall(r'<symbol id="tabler-([a-z0-9-]+)"', sprite))
    pattern = re.compile(r'{% icon "([a-z0-9-]+)"|icon(?:_name)?="([a-z0-9-]+)"|icon_name\|default:"([a-z0-9-]+)"')
    used = {name for path in TEMPLATES for names in pattern.findall(path.read_text()) for name in names if name}
    assert len(used) > 20
    assert used <= vendored


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_template_obeys_the_content_security_policy(path: Path) -> None:
    source = path.read_text()
    assert not re.search(r'\sstyle="|\son[a-z]+="|hx-on|="js:|javascript:|<style', source)
    for script in re.findall(r"<script[^>]*>", source):
        assert "src=" in script
    assert not re.search(r'(?:src|href)="(?:https?:)?//', source)


def test_spark_reaches_from_zero_to_the_peak() -> None:
    assert pw._spark_points([0, 5, 10], 88, 22) == [(0, 20.5), (42, 11), (84, 1.5)]
    assert pw._spark_points([0, 0], 88, 22) == [(0, 20.5), (84, 20.5)]
    assert "<circle" in pw.spark([], "nothing yet")


@pytest.mark.parametrize(("value", "maximum", "width"), [(22, 40, "55"), (50, 40, "100"), (-1, 40, "0"), (1, 0, "0")])
def test_bar_stays_in_its_frame(value: int, maximum: int, width: str) -> None:
    assert f'width="{width}%"' in pw.bar(value, maximum, "used")


def test_stacked_bar_shows_what_is_small_and_leaves_out_nothing() -> None:
    html = pw.stacked_bar([(99_999, "ok"), (1, "bad"), (0, "warn")], 100_000, "outcomes")
    assert re.findall(r'width="([\d.]+)%"', html) == ["99.999", "0.500", "0.000"]


@pytest.mark.parametrize(
    ("seconds", "text", "short"),
    [
        (3, "3 s ago", "3 s"),
        (59, "59 s ago", "59 s"),
        (60, "1 min ago", "1 min"),
        (99 * 60, "99 min ago", "99 min"),
        (100 * 60, "1 h ago", "1 h"),
        (47 * 3600, "47 h ago", "47 h"),
        (48 * 3600, "2 d ago", "2 d"),
        (-34 * 60, "in 34 min", "34 min"),
    ],
)
def test_age(seconds: int, text: str, short: str) -> None:
    moment = NOW - timedelta(seconds=seconds)
    assert wording.age(moment, NOW) == text
    assert wording.age(moment, NOW, short=True) == short


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, wording.MISSING),
        (0, "0 s"),
        (0.31, "0.31 s"),
        (10.02, "10.02 s"),
        (52, "52 s"),
        (59.999, "1 min"),
        (720, "12 min"),
        (899, "14 min 59 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


def test_numbers() -> None:
    assert (
        render("{{ a|count }} {{ b|count }} {{ c|count }}", a=5329, b=None, c="2 of 14") == "5,329 \N{EN DASH} 2 of 14"
    )
    compact = {0: "0", 950: "950", 1234: "1.2 k", 8000: "8 k", 18_204: "18 k", 4_100_000: "4.1 M"}
    assert {n: wording.compact(n) for n in compact} == compact
    assert [wording.percent(*pair) for pair in ((0, 5), (1, 4060), (23, 4060), (1194, 4060), (5, 5), (1, 0))] == [
        *("0 %", "< 0.1 %", "0.6 %", "29 %", "100 %", wording.MISSING),
    ]


def test_times_carry_utc() -> None:
    local = NOW.astimezone(tz=None)
    assert pw.clock(local) == (
        '<time datetime="2026-11-22T02:31:04Z" title="2026-11-22 02:31:04 UTC" data-clock>02:31:04 UTC</time>'
    )
    assert 'title="2026-11-22 02:31:04 UTC" data-ago="long"' in pw.ago(local)
    assert pw.ago(None) == pw.clock(None) == wording.MISSING


class PoolForm(forms.Form):
    name = forms.CharField(help_text="Letters and dashes.")
    team = forms.ChoiceField(choices=[("a", "A")], required=False)
    keep = forms.BooleanField(required=False)


def test_field_wires_label_help_and_error() -> None:
    html = render("{% for f in form %}{% field f %}{% endfor %}", form=PoolForm({"name": ""}))
    described = re.search(r'aria-describedby="([^"]+)"', html)
    assert described
    assert all(f'id="{target}"' in html for target in described[1].split())
    assert 'aria-invalid="true"' in html
    assert "This field is required." in html
    assert 'class="form-select"' in html
    assert 'class="form-check-input"' in html
    assert html.count("<label") == 3


def test_confirm_posts_with_a_token_and_needs_a_reason() -> None:
    html = render(
        '{% confirm "pause" title="Pause?" action="/p/pause/" button="Pause payments" %}40 workers{% endconfirm %}',
        csrf_token="token-of-this-session",
    )
    assert '<form class="pw-form" method="post" action="/p/pause/">' in html
    assert 'value="token-of-this-session"' in html
    assert re.search(r'<textarea[^>]* name="reason"[^>]* required', html)
    assert html.index("40 workers") < html.index("Pause payments</button>")


@pytest.mark.parametrize(("cookie", "shown"), [("dark", "dark"), ("light", "light"), ("auto", "auto"), (EVIL, "auto")])
def test_theme_comes_from_the_cookie(cookie: str, shown: str) -> None:
    request = RequestFactory().get("/")
    request.COOKIES["pw_theme"] = cookie
    assert render("{% theme %}", request=request) == shown
    assert render("{% theme %}") == "auto"


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_error_page_needs_no_context(status: int) -> None:
    html = render_to_string(f"errors/{status}.html")
    assert f"Error {status}" in html
    assert "<h1" in html


TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/venv/lib/python3.13/site-packages/rq/worker.py", line 1539, in perform_job
    rv = job.perform()
  File "/srv/venv/lib/python3.13/site-packages/rq/job.py", line 1400, in perform
    self._result = self._execute()
  File "/srv/shop/tasks.py", line 88, in capture
    receipt = gateway.charge(order)
              ^^^^^^^^^^^^^^
  [Previous line repeated 3 more times]
KeyError: 'eu2'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/shop/gateway.py", line 41, in charge
TimeoutError: connect timed out
after 10 s"""


def test_traceback_tells_the_application_from_libraries() -> None:
    blocks = parse_traceback(TRACEBACK)
    assert [block.kind for block in blocks] == ["lib", "app", "err", "text", "app", "err"]
    assert [str(frame) for frame in blocks[0].frames] == [
        "rq/worker.py:1539 in perform_job",
        "rq/job.py:1400 in perform",
    ]
    assert blocks[1].frames[0].source == ["receipt = gateway.charge(order)", "[Previous line repeated 3 more times]"]
    assert blocks[-1].lines == ["TimeoutError: connect timed out", "after 10 s"]


def test_text_that_is_no_traceback_is_shown_as_it_is() -> None:
    assert [block.lines for block in parse_traceback("Work-horse terminated unexpectedly")] == [
        ["Work-horse terminated unexpectedly"]
    ]
    assert parse_traceback("") == []
