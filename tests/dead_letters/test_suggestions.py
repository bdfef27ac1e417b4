"""What the filter bar offers at the caret: keys first, then values that the visitor may see, most frequent first."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.models import FailureGroup, Pool
from pools.selectors.suggestions import SHOWN, suggestions
from tests.dead_letters.letters import HOSTILE, failed, numbered
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

URL = "/dead-letters/suggestions/"


@pytest.fixture
def incident(cast: Cast, payments: Pool, reports: Pool, hidden: Pool) -> None:
    group = failed(payments, *numbered(3), host="pay-01", config_number=41)
    FailureGroup.objects.filter(pk=group.pk).update(owner=cast.alice)
    failed(reports, "r", title="shop.CardDeclined: no", func="a b, c", host="pay-02", config_number=42)
    failed(hidden, *numbered(9, "h"), title="SecretError: x", func="secret.task", queue="secret", host="secret-host")


def offered(cast: Cast, marked: str) -> list[str]:
    """``|`` stands for the caret."""
    caret = marked.index("|")
    return [each.text for each in suggestions(actor(cast.bob), marked.replace("|", ""), caret)]


OFFERS = [
    ("|", ["pool:", "queue:", "task:", "error:"]),
    ("qu|", ["queue:"]),
    ("pool:payments -qu|", ["-queue:"]),
    ("pool:|", ["payments", "reports"]),
    ("pool:pa|", ["payments"]),
    ("pool:payments,re|", ["reports"]),
    ("error:|", ["TimeoutError", "CardDeclined"]),
    ("error:shop|", []),
    ("error:shop.|", ["shop.CardDeclined"]),
    ("task:|", ["shop.payments.capture", '"a b, c"']),
    ('task:"a b|', ['"a b, c"']),
    ("queue:|", ["payments", "reports"]),
    ("host:02|", ["pay-02"]),
    ("version:|", ["v41", "v42"]),
    ("version:v42|", ["v42"]),
    ("age:|", ["<15m", "<1h", "<6h"]),
    ("age:>|", [">1h", ">24h", ">7d"]),
    ("is:re|", ["resolved", "regressed"]),
    ("owner:|", ["me", "none", "alice"]),
    ("state:re|", ["requeued"]),
    ("secret|", []),
    ("host:secret|", []),
    ("nothing like this|", []),
    ("'; DROP TABLE x|", []),
]


@pytest.mark.usefixtures("incident")
def test_what_is_offered(cast: Cast) -> None:
    for marked, expected in OFFERS:
        found = offered(cast, marked)
        assert found[: len(expected)] == expected, marked
        assert expected or not found, marked


@pytest.mark.usefixtures("incident")
def test_without_a_key_values_come_with_theirs(cast: Cast) -> None:
    assert offered(cast, "pay|") == ["pool:payments", "task:shop.payments.capture", "queue:payments", *HOSTS]
    assert offered(cast, "-card|") == ["-error:CardDeclined"]


HOSTS = ["host:pay-01", "host:pay-02"]


@pytest.mark.usefixtures("incident")
@pytest.mark.parametrize(
    ("marked", "becomes"),
    [
        ("que|", "queue:|"),
        ("age:<1h pool:pa| timed out", "age:<1h pool:payments| timed out"),
        ("pool:pa|", "pool:payments |"),
        ("-pool:payments,re|", "-pool:payments,reports |"),
        ("pool:re|,payments", "pool:reports|,payments"),
        ("task:a|", 'task:"a b, c" |'),
        ("-card| x", "-error:CardDeclined| x"),
    ],
)
def test_what_the_line_becomes(cast: Cast, marked: str, becomes: str) -> None:
    found = suggestions(actor(cast.bob), marked.replace("|", ""), marked.index("|"))
    lines = [f"{each.line[: each.caret]}|{each.line[each.caret :]}" for each in found]
    assert becomes in lines


def test_never_more_than_a_screenful(cast: Cast, payments: Pool) -> None:
    for n in range(SHOWN + 5):
        failed(payments, f"j{n}", title=f"Error{n}: x", func=f"shop.f{n}", queue=f"q{n}", host=f"host-{n}")
    for line in ("error:", "task:", "queue:", "host:", "group:", "s"):
        with CaptureQueriesContext(connection) as seen:
            assert 0 < len(suggestions(actor(cast.bob), line, len(line))) <= SHOWN, line
        assert len(seen) <= 12


def test_groups_by_number_or_title(cast: Cast, payments: Pool) -> None:
    group = failed(payments, "a")
    assert offered(cast, "group:connect|") == offered(cast, f"group:{group.pk}|") == [str(group.pk)]


def test_the_page_answers_with_options(cast: Cast, payments: Pool) -> None:
    failed(payments, "a", func=HOSTILE, title=f"{HOSTILE}: x")
    make.pool(cast.payments, "quiet")
    client = signed_in(cast.bob)
    page = client.get(URL, {"filter": "pool:", "at": "5"}).content.decode()
    assert 'role="option"' in page and 'data-line="pool:payments "' in page and "<html" not in page
    hostile = client.get(URL, {"filter": "task:"}).content.decode()
    assert "<script>alert" not in hostile and "&lt;script&gt;" in hostile
    for at in ("x", "-1", "9" * 30, ""):
        assert client.get(URL, {"filter": "que", "at": at}).status_code == 200
    assert client.post(URL).status_code == 405
    assert "payments" not in signed_in(cast.charlie).get(URL, {"filter": "pool:"}).content.decode()
