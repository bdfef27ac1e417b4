"""What a description shows of a call's arguments: how many and which names, and never a part of a value."""

import json
import random
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from rq import Queue
from rq.utils import get_call_string

from pools.broker.connection import Broker
from pools.broker.failed_jobs import FailedJob, read_failed
from pools.broker.payload import called_function
from pools.broker.payload_mask import MASK, PLAIN, SHAPE_LIMIT, _looked_through, masked_arguments
from tests.broker import jobs
from tests.broker.conftest import Work

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200) | st.binary(max_size=120),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=20), inner, max_size=5),
    max_leaves=12,
)
NAMES = st.sampled_from(["order", "currency", "größe", "to"])


def test_names_and_number_of_a_call_as_rq_describes_it(broker: Broker, client: redis.Redis, work: Work) -> None:
    Queue("mail", connection=client).enqueue(
        jobs.fails, 4711, "hunter2", order="ord_1", to=["bob@example.org"], job_id="one"
    )
    work()
    (found,) = read_failed(broker, ["one"], {"one": "mail"})
    assert isinstance(found, FailedJob)
    assert found.arguments == f"({MASK}, {MASK}, order={MASK}, to={MASK})"
    assert found.func == "tests.broker.jobs.fails"


@given(st.lists(VALUES, max_size=4), st.dictionaries(NAMES, VALUES, max_size=4))
def test_whatever_the_values_only_names_and_masks_are_left(args: list[Any], kwargs: dict[str, Any]) -> None:
    described = get_call_string("shop.f", args, kwargs, max_length=75)
    shown = masked_arguments((described or "").encode("utf-8", "replace"))
    whole = [MASK for _ in args] + sorted(f"{name}={MASK}" for name in kwargs)
    shown_parts = shown[1:-1].split(", ") if shown != "()" else []
    assert shown_parts == whole or (shown_parts[-1] == "…" and shown_parts[:-1] == whole[: len(shown_parts) - 1])


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("shop.f()", "()"),
        ("shop.f('a, pw=b', x=1)", f"({MASK}, x={MASK})"),
        ("shop.f('" + "a" * 74 + "..., order=5)", f"({MASK}, order={MASK})"),
        ("shop.f(<Card no=4111, cvc=123>)", f"({MASK})"),
        ("shop.f(it's, card=4111)", "(…)"),
        ("shop.f(x=1, 2)", f"(x={MASK}, …)"),
        ("shop.f(", "(…)"),
        ("shop.f(,)", "(…)"),
        ("shop.f('open", "(…)"),
        ("shop.f(1) and card 4111", f"({MASK}, …)"),
        ("shop.f(\u202e1)", f"({MASK})"),
        ("Charge card 4111 (now)", ""),
        ("<script>alert(1)</script>", ""),
        ("", ""),
        (b"shop.f(\xff\x00)", f"({MASK})"),
        (None, ""),
    ],
)
def test_hostile_descriptions(description: Any, shown: str) -> None:
    assert masked_arguments(description) == shown


def test_long_calls_are_cut() -> None:
    names = [f"{'n' * 35}{number:02}" for number in range(40)]
    for described in (f"f({', '.join(f'{name}=1' for name in names)})", f"f({', '.join(['1'] * 5000)})"):
        shown = masked_arguments(described)
        assert len(shown) <= SHAPE_LIMIT and shown.endswith("…)")


@pytest.mark.parametrize("description", ["Charge 4111 1111 1111 1111", "Mail to bob@example.org", "hunter2", ""])
def test_a_producers_own_description_is_shown_nowhere(broker: Broker, client: redis.Redis, description: str) -> None:
    assert called_function(description, None) == ""
    assert called_function(description, json.dumps(["shop.f", None, [], {}]).encode()) == "shop.f"


def test_random_cuts_of_a_description_never_show_a_value() -> None:
    secret = "sk_live_4f9a"
    whole = f"shop.f({secret!r}, {{'a': {secret!r}}}, order=[{secret!r}, ({secret!r},)], to={secret!r})"
    rng = random.Random(7)
    for _ in range(2000):
        begin, end = sorted(rng.sample(range(len("shop.f("), len(whole) + 1), 2))
        assert secret not in masked_arguments("shop.f(" + whole[begin:end])


@given(st.text(alphabet="'\"\\,()[]ab1. -+", min_size=1, max_size=90))
def test_the_short_way_says_what_the_long_way_says(text: str) -> None:
    plain = PLAIN.match(text)
    assert plain is None or plain.end() == _looked_through(text, 0)
