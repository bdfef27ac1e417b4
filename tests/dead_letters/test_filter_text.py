"""The line of the filter bar: what it means, how it is printed, what is said of what cannot be read. No database."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.models import DeadLetterState
from pools.selectors.dead_letters import DeadLetterFilter
from pools.selectors.filter_text import KEYS, as_typed, line_of, parse_line
from pools.selectors.filter_values import FilterError, canonical, read_values
from pools.selectors.group_life import SHOWN_STATES

MEANS = [
    ("", {}, ""),
    ("   ", {}, ""),
    ("pool:payments", {"pool": "payments"}, "pool:payments"),
    ("POOL:payments", {"pool": "payments"}, "pool:payments"),
    ("pool:a,b  pool:c pool:a", {"pool": "a,b,c"}, "pool:a,b,c"),
    ("-queue:low,bulk", {"queue": "-low,-bulk"}, "-queue:low,bulk"),
    ("queue:a -queue:b", {"queue": "a,-b"}, "queue:a -queue:b"),
    ("queue:-odd", {"queue": '"-odd"'}, 'queue:"-odd"'),
    ('task:"f(a, b)"', {"task": '"f(a, b)"'}, 'task:"f(a, b)"'),
    (r'task:"say \"x\\y\"",b', {"task": r'"say \"x\\y\"",b'}, r'task:"say \"x\\y\"",b'),
    ('task:a"b', {"task": r'"a\"b"'}, r'task:"a\"b"'),
    ("error:TimeoutError,shop.CardDeclined", {"error": "TimeoutError,shop.CardDeclined"}, None),
    ("error:none host:none", {"error": "none", "host": "none"}, None),
    ("version:41,v042,none", {"version": "v41,v42,none"}, "version:v41,v42,none"),
    ("age:<1h", {"since": "1h"}, "age:<1h"),
    ("age:>24h age:<7d", {"until": "24h", "since": "7d"}, "age:<7d age:>24h"),
    ("since:15m", {"since": "15m"}, "age:<15m"),
    ("since:2026-11-22T02:31Z", {"since": "2026-11-22T02:31Z"}, None),
    ('until:"2026-11-22 02:31"', {"until": "2026-11-22 02:31"}, None),
    ("expires:<24h", {"expires": "<24h"}, "expires:<24h"),
    ("expires:>2026-11-22T02:31:00Z", {"expires": ">2026-11-22T02:31:00Z"}, None),
    ("is:new,regressed -owner:me", {"group_state": "new,regressed", "owner": "-me"}, None),
    ("group:17,18", {"group": "17,18"}, None),
    ("args.user.id:42,43", {"args": "user.id=42,user.id=43"}, "args.user.id:42,43"),
    ("-ARGS.0:a,b", {"args": "-0=a,-0=b"}, "-args.0:a,b"),
    ("args.a:1 args.b:2 args.a:3", {"args": "a=1,a=3,b=2"}, "args.a:1,3 args.b:2"),
    ("args.a:1 -args.a:2 -args.b:x", {"args": "a=1,-a=2,-b=x"}, "args.a:1 -args.a:2 -args.b:x"),
    (r'args.a:"two words, =\"quoted\"",-1', {"args": r'"a=two words, =\"quoted\"",a=-1'}, None),
    ("args.a:b=c,none", {"args": "a=b=c,a=none"}, "args.a:b=c,none"),
    ("kwargs.a:1 gate.args.a:1", {"q": "kwargs.a:1 gate.args.a:1"}, None),
    ('"args.a:1"', {"q": "args.a:1"}, '"args.a:1"'),
    ("state:any", {"state": "any"}, "state:any"),
    ("connect timed out", {"q": "connect timed out"}, None),
    ("timed pool:a out", {"pool": "a", "q": "timed out"}, "pool:a timed out"),
    ('"two  blanks"', {"q": "two  blanks"}, '"two  blanks"'),
    ('"pool:a"', {"q": "pool:a"}, '"pool:a"'),
    ("https://gate.example/x", {"q": "https://gate.example/x"}, None),
    ("gate.example:443 (a, b) - c's", {"q": "gate.example:443 (a, b) - c's"}, None),
    ('say "hello"', {"q": "say hello"}, "say hello"),
    ('"-minus"', {"q": "-minus"}, '"-minus"'),
]


@pytest.mark.parametrize(("line", "fields", "printed"), MEANS)
def test_what_a_line_means_and_how_it_is_printed(line: str, fields: dict[str, str], printed: str | None) -> None:
    assert parse_line(line) == fields
    again = line_of(fields)
    assert parse_line(again) == fields
    if printed is not None:
        assert again == printed


# The line, the part that is marked, and what is said of it.
WRONG = [
    ("pool:a queu:low", "queu:", "there is no key queu:, did you mean queue:?"),
    ("TimeoutError: read", "TimeoutError:", "Text with a colon in it needs quotes"),
    ("exception:KeyError", "exception:", "did you mean error:?"),
    ("zzz:1", "zzz:", "the keys are pool, queue, task"),
    ("error:", "error:", "expected an exception, with or without its module, or none after ':', as in error:Timeout"),
    ("queue:a, task:b", "queue:a,", "expected a queue after ','"),
    ("queue:,a", "queue:", "expected a queue after ':'"),
    ('queue:""', 'queue:""', "expected a queue"),
    ('task:"open end', '"open end', 'does not end: expected another "'),
    ('task:"a"b', '"a"b', "expected a comma or a blank after the closing quote"),
    ("timeout -word", "-word", "only a key can be left out"),
    ("age:1h", "age:1h", "expected < or > and a span of m, h or d, as in age:<1h"),
    ("age:<1w", "age:<1w", "not '<1w'"),
    ("age:<1h,>2h", "age:<1h,>2h", "age: takes one value"),
    ("-age:<1h", "-age:<1h", "age: takes one value, and < or > say which side"),
    ("age:<1h since:2h", "since:2h", "since: is given twice"),
    ("since:yesterday", "since:yesterday", "expected a time such as"),
    ("expires:24h", "expires:24h", "expected < or > and a time, as in <24h"),
    ("expires:<soon", "expires:<soon", "expected a time such as"),
    ("version:new", "version:new", "expected a config version such as v41, or none"),
    ("group:x", "group:x", "expected numbers of failure groups"),
    ("is:open", "is:open", "expected new, acknowledged, snoozed, resolved or regressed"),
    ("args:42", "args:", "expected the path of an argument between args and the colon, as in args.user.id:42"),
    ("args.:42", "args.:", "expected the path of an argument"),
    ("pool:a args.a..b:42", "args.a..b:42", "expected the path of an argument and its value, as user.id=42"),
    ("args.a:", "args.a:", "expected a value that the job was called with, under a searchable path after ':'"),
    ("args.a:" + "x" * 201, "args.a:" + "x" * 201, "expected a value of 1 to 200 characters for a"),
    ("args.a:1,", "args.a:1,", "after ','"),
    ("arg:1", "arg:", "did you mean args:?"),
    ("state:new", "state:new", "expected open, requeued"),
    ("pool:a\x00", "", "none of them NUL"),
    ("x" * 4001, "", "at most 4,000 characters"),
]


@pytest.mark.parametrize(("line", "marked", "said"), WRONG)
def test_what_cannot_be_read_is_marked_and_explained(line: str, marked: str, said: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse_line(line)
    assert refused.value.field == "filter" and said in refused.value.message
    assert line[refused.value.start : refused.value.end] == marked


def test_every_key_has_an_example_that_can_be_read() -> None:
    for key, known in KEYS.items():
        assert parse_line(known.example), key


def test_parameters_that_cannot_be_read_become_a_line_to_mend() -> None:
    typed = as_typed({"since": "soon ish", "pool": "a", "q": "some words", "show": "jobs"})
    assert typed == 'pool:a since:"soon ish" some words'
    assert as_typed({"args": "b=2,a=1,-b=3", "since": "x"}) == "since:x args.b:2 -args.b:3 args.a:1"
    assert as_typed({"args": "oops"}) == "args:oops"


TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=12)
VALUE = st.one_of(st.text(string.ascii_lowercase + '-,"\\ :<>.', min_size=1, max_size=8), TEXT).map(str.strip)
VALUES = st.lists(st.tuples(st.booleans(), VALUE.filter(bool)), max_size=4)
TIMES = st.sampled_from(["", "15m", "9999d", "2026-11-22T02:31:00Z", "2026-11-22 02:31"])
PATHS = st.sampled_from(["user.id", "0", "a-b.größe"])
VOCABULARIES = {
    "version": ["v1", "v41", "none"],
    "group": ["1", "17"],
    "state": [*DeadLetterState.values, "any"],
    "group_state": list(SHOWN_STATES),
}


def written(values: list[tuple[bool, str]]) -> str:
    """As a careful client of the API writes them."""
    escaped = [(sign, value.replace("\\", "\\\\").replace('"', '\\"')) for sign, value in values]
    return ",".join(f'{"-" if sign else ""}"{value}"' for sign, value in escaped)


@st.composite
def filters(draw: st.DrawFn) -> dict[str, str]:
    plain = ("pool", "queue", "task", "error", "host", "owner")
    fields = {name: canonical(name, written(draw(VALUES))) for name in plain}
    for name, words in VOCABULARIES.items():
        chosen = draw(st.lists(st.tuples(st.booleans(), st.sampled_from(words)), max_size=3))
        fields[name] = canonical(name, written(chosen))
    arguments = [(sign, f"{draw(PATHS)}={value}") for sign, value in draw(VALUES)]
    fields["args"] = canonical("args", written(arguments))
    fields |= {"since": draw(TIMES), "until": draw(TIMES), "q": draw(st.one_of(VALUE, TEXT.map(str.strip)))}
    fields["expires"] = draw(st.sampled_from(["", "<24h", ">7d", "<2026-11-22T02:31:00Z"]))
    return {name: text for name, text in fields.items() if text}


@given(filters())
def test_what_is_printed_is_read_as_the_same_filter(fields: dict[str, str]) -> None:
    line = line_of(fields)
    assert parse_line(line) == fields
    assert {name: canonical(name, text) for name, text in fields.items()} == fields
    wanted = DeadLetterFilter.from_query(fields)
    assert DeadLetterFilter.from_query(wanted.as_query()) == wanted


@given(st.text(alphabet=st.sampled_from('pol:qeu,"\\ -<>h1agev.\u3000\n'), max_size=30))
def test_any_line_is_read_or_refused_at_a_place_within_it(line: str) -> None:
    try:
        fields = parse_line(line)
    except FilterError as error:
        assert 0 <= error.start <= error.end <= len(line) and error.message
    else:
        assert parse_line(line_of(fields)) == fields


@given(VALUES)
def test_values_keep_their_order_and_come_once(values: list[tuple[bool, str]]) -> None:
    read = read_values("queue", written(values))
    assert list(read.wanted) == list(dict.fromkeys(value for sign, value in values if not sign))
    assert list(read.unwanted) == list(dict.fromkeys(value for sign, value in values if sign))
