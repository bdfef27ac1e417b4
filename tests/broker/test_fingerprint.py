"""One cause, one digest: what is told apart and what is not."""

import importlib.util
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.broker.fingerprint import Fingerprint, fingerprint, normalised
from pools.broker.tracebacks import parse_traceback

GENERATOR = Path(__file__).resolve().parents[3] / "shared" / "bench" / "seed_failed.py"

MESSAGES = [
    ("timed out after 30s for order 4711", "timed out after …s for order …"),
    ("read 1,024.5 of 2,048 bytes at 12:30:05", "read … of … bytes at …"),
    ("charge ch_00ffab12cd34 already captured", "charge … already captured"),
    ("job 550e8400-e29b-41d4-a716-446655440000 is gone", "job … is gone"),
    ("job 550E8400E29B41D4A716446655440000 is gone", "job … is gone"),
    ("commit deadbeef01 is bad", "commit … is bad"),
    ("the added facade is bad", "the added facade is bad"),
    ("<shop.Order object at 0x7f00aa> is closed", "<shop.Order> is closed"),
    ("<Order at 0x7f00aa> is closed", "<Order> is closed"),
    ("bad pointer 0xDEADBEEF", "bad pointer …"),
    ("invalid literal for int() with base 10: 'ord_00f'", "invalid literal for int() with base …: '…'"),
    ('duplicate key violates "accounts_key"', 'duplicate key violates "…"'),
    ("no `thing` here", "no `…` here"),
    ("it's broken, isn't it", "it'…'t it"),
    ("cannot open /srv/archive/2026/7/a.parquet", "cannot open …"),
    (r"cannot open C:\temp\a.txt now", "cannot open … now"),
    ("cannot open ~/a/b, sorry", "cannot open …, sorry"),
    ("either/or and 3/4", "either/or and …/…"),
    ("GET https://api.example.org/v1/refunds/re_77?x=1 failed", "GET https://api.example.org/… failed"),
    ("redis://cache:6379/0 is down", "redis://cache:…/… is down"),
    ("connect to eu2.cardgate.example:443 timed out", "connect to eu….cardgate.example:… timed out"),
    ("no answer from 10.0.12.7:5432", "no answer from …"),
    ("unknown user bob.smith+x@mail.example.org", "unknown user …"),
    ("ids 1, 2, 3, 4 are gone", "ids …, …, …, … are gone"),
    ("first\n   second\tthird ", "first second third"),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_data_becomes_a_gap(message: str, expected: str) -> None:
    assert normalised(message) == expected


@pytest.mark.parametrize(
    ("exc_type", "message", "title"),
    [
        ("AttributeError", "no attribute 'email' in 'User'", "AttributeError: no attribute 'email' in 'User'"),
        ("ModuleNotFoundError", "No module named 'winreg'", "ModuleNotFoundError: No module named 'winreg'"),
        ("TypeError", "bad value 'a b c 17'", "TypeError: bad value '…'"),
        ("shop.errors.Declined", "card 1", "Declined: card …"),
        ("ValueError", "", "ValueError"),
        ("", "something odd", "something odd"),
        ("", "", "No message"),
        ("ValueError", "x" * 500, "ValueError: " + "x" * 187 + "…"),
    ],
)  # fmt: skip
def test_titles(exc_type: str, message: str, title: str) -> None:
    assert fingerprint("shop.run", exc_type, message, ()).title == title


def printed(frames: list[tuple[str, int, str]], last: str = "ValueError: x") -> str:
    lines = [f'  File "{path}", line {line}, in {function}\n    go()' for path, line, function in frames]
    return "\n".join(["Traceback (most recent call last):", *lines, last, ""])


OWN = ("/srv/app/shop/orders.py", 12, "parse")
LIBRARY = ("/srv/venv/lib/python3.13/site-packages/psycopg/cursor.py", 90, "execute")


def digest(
    func: str = "shop.run", exc_type: str = "ValueError", message: str = "x 1", *frames: tuple[str, int, str]
) -> str:
    return fingerprint(func, exc_type, message, parse_traceback(printed(list(frames or (OWN, LIBRARY)))).frames).digest


def test_what_is_the_same_cause() -> None:
    first = digest()
    assert digest("shop.run", "ValueError", "x 22") == first
    assert digest("shop.run", "ValueError", "x 1", ("/srv/app/shop/orders.py", 99, "parse"), LIBRARY) == first, (
        "a deploy moves lines"
    )
    assert digest("shop.run", "ValueError", "x 1", OWN, ("/usr/lib/python3.13/json/decoder.py", 5, "decode")) == first
    assert digest("shop.run", "ValueError", "x 1", ("/srv/app/shop/web.py", 1, "view"), OWN) == first, (
        "another way there"
    )
    assert digest("shop.run", "ValueError", "x 1", ("/releases/2026-11/shop/orders.py", 12, "parse")) == first


def test_what_is_another_cause() -> None:
    others = [
        digest("shop.other"),
        digest("shop.run", "TypeError"),
        digest("shop.run", "ValueError", "y 1"),
        digest("shop.run", "ValueError", "x 1", ("/srv/app/shop/orders.py", 12, "render")),
        digest("shop.run", "ValueError", "x 1", ("/srv/app/shop/mail.py", 12, "parse")),
    ]
    assert len({digest(), *others}) == len(others) + 1


def test_a_timeout_is_one_cause_wherever_it_strikes() -> None:
    found = {
        fingerprint(
            "shop.run",
            "rq.timeouts.JobTimeoutException",
            "Task exceeded (180 seconds)",
            parse_traceback(printed([frame])).frames,
        ).digest
        for frame in (OWN, ("/srv/app/shop/mail.py", 1, "send"))
    }
    assert len(found) == 1


def test_parts_cannot_be_shifted_into_each_other() -> None:
    assert fingerprint("ab", "c", "", ()).digest != fingerprint("a", "bc", "", ()).digest


def test_version_1_stays_what_it_is() -> None:
    """Stored groups carry these digests: a rule that changes one needs a new version."""
    found = fingerprint(
        "shop.orders.parse", "ValueError", "invalid literal: 'ord_1'", parse_traceback(printed([OWN, LIBRARY])).frames
    )
    digest = "3d2fb2034652edcf4ae3fcea605765babd2cbd3dd95400f1da634d0dfc391450"
    assert found == Fingerprint(1, digest, "ValueError: invalid literal: '…'")


@given(st.text(), st.text(), st.text(), st.text())
def test_any_text_has_a_one_line_title(func: str, exc_type: str, message: str, traceback: str) -> None:
    found = fingerprint(func, exc_type, message, parse_traceback(traceback).frames)
    assert 0 < len(found.title) <= 200
    assert len(found.digest) == 64
    assert "\n" not in found.title


@pytest.mark.parametrize(
    "part", ["'", '"', "`", "/", "0", "a@", "f0", "0x", "…-", "'\\", "http://", "a.", " ", "a1-", "ab:"]
)
@pytest.mark.timeout(60)  # a pattern that backtracks would take hours
def test_no_message_holds_the_pattern_up(part: str) -> None:
    assert len(normalised(part * 200_000)) <= len(part) * 200_000


@pytest.mark.skipif(not GENERATOR.exists(), reason="the generator of failures lies beside the repository, not in it")
def test_the_seed_of_20_causes_gives_at_most_30_groups() -> None:
    spec = importlib.util.spec_from_file_location("seed_failed", GENERATOR)
    assert spec and spec.loader
    seed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seed)
    rng = random.Random(42)
    groups: Counter[tuple[str, str]] = Counter()
    for cause in seed.EXC:
        for _ in range(200):
            text = seed.traceback_for(cause, rng)
            raised = parse_traceback(text)
            assert raised.exc_type == cause[0]
            found = fingerprint(cause[1], raised.exc_type, raised.message, raised.frames)
            groups[found.digest, found.title] += 1
    assert 20 <= len(groups) <= 30
    assert set(groups.values()) == {200}, "a group is a cause"
    assert all("\n" not in title and len(title) <= 200 for _, title in groups)
