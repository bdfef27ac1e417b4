"""Printed tracebacks of every shape that Python, RQ and hostile jobs leave behind."""

import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rq.timeouts import JobTimeoutException

from pools.broker.tracebacks import Frame, parse_traceback


class Declined(Exception):
    pass


def printed(action: Callable[[], object]) -> str:
    try:
        action()
    except BaseException as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError("nothing was raised")


def throw(error: BaseException) -> None:
    raise error


def from_another() -> None:
    try:
        throw(KeyError("first"))
    except KeyError as error:
        raise Declined("card 1") from error


def while_handling() -> None:
    try:
        throw(KeyError("first"))
    except KeyError:
        throw(Declined("card 2"))


def caught(error: Exception) -> Exception:
    try:
        raise error
    except Exception as again:
        return again


def with_notes() -> None:
    error = ValueError("bad row")
    error.add_note("in line 7")
    raise error


def bare() -> None:
    raise Declined


def local() -> None:
    class Odd(Exception):
        pass

    raise Odd("here")


def recursion() -> None:
    recursion()


HERE = f"{__name__}."
CASES: list[tuple[Callable[[], object], str, str]] = [
    (lambda: throw(ValueError("one line")), "ValueError", "one line"),
    (lambda: throw(ValueError("two\nlines: of\n  text\n\nend")), "ValueError", "two\nlines: of\n  text\n\nend"),
    (lambda: throw(ValueError("")), "ValueError", ""),
    (lambda: throw(KeyError("a: b")), "KeyError", "'a: b'"),
    (bare, f"{HERE}Declined", ""),
    (from_another, f"{HERE}Declined", "card 1"),
    (while_handling, f"{HERE}Declined", "card 2"),
    (with_notes, "ValueError", "bad row\nin line 7"),
    (local, f"{HERE}local.Odd", "here"),
    (lambda: compile("def f(:\n  pass", "<job>", "exec"), "SyntaxError", "invalid syntax"),
    (lambda: compile("  x\n y", "<job>", "exec"), "IndentationError", "unexpected indent"),
    (lambda: throw(JobTimeoutException("Task exceeded maximum timeout value (180 seconds)")),
     "rq.timeouts.JobTimeoutException", "Task exceeded maximum timeout value (180 seconds)"),
    (recursion, "RecursionError", "maximum recursion depth exceeded"),
    (lambda: throw(SystemExit(3)), "SystemExit", "3"),
    (lambda: throw(ExceptionGroup("many", [ValueError("a"), TypeError("b")])),
     "ExceptionGroup", "many (2 sub-exceptions): ValueError: a"),
    (lambda: throw(ExceptionGroup("many", [caught(Declined("a\nb")), TypeError("b")])),
     "ExceptionGroup", f"many (2 sub-exceptions): {HERE}Declined: a\nb"),
    (lambda: throw(ExceptionGroup("outer", [caught(ExceptionGroup("inner", [Declined("x")])), TypeError("b")])),
     "ExceptionGroup", f"outer (2 sub-exceptions): ExceptionGroup: inner (1 sub-exception): {HERE}Declined: x"),
    (lambda: throw(ExceptionGroup("with cause", [_chained()])),
     "ExceptionGroup", f"with cause (1 sub-exception): {HERE}Declined: card 1"),
]  # fmt: skip


def _chained() -> Exception:
    try:
        from_another()
    except Declined as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("action", "exc_type", "message"), CASES, ids=[f"{exc_type}: {message[:30]}" for _, exc_type, message in CASES]
)
def test_what_python_prints(action: Callable[[], object], exc_type: str, message: str) -> None:
    raised = parse_traceback(printed(action))
    assert raised.exc_type == exc_type
    assert raised.message.startswith(message) if exc_type == "RecursionError" else raised.message == message
    assert raised.frames


TEXTS = [
    ("Work-horse terminated unexpectedly; waitpid returned 9 (signal 9); ", "WorkerLost"),
    ("Moved to FailedJobRegistry, due to AbandonedJobError, at 2026-11-22 07:00:00.123456+00:00", "AbandonedJobError"),
    ("Job was stuck in intermediate queue.", "StuckInIntermediateQueue"),
    ("Job stopped by user, work-horse terminated.", "JobStopped"),
    ("something else entirely", ""),
    ("", ""),
]


@pytest.mark.parametrize(("text", "exc_type"), TEXTS)
def test_what_rq_writes_without_an_exception(text: str, exc_type: str) -> None:
    raised = parse_traceback(text)
    assert (raised.exc_type, raised.message, raised.frames) == (exc_type, text.strip(), ())


def test_rq_still_writes_these_texts() -> None:
    """The contract with RQ 3.0's source; a change there needs a change here."""
    import inspect

    from rq import intermediate_queue, registry
    from rq.worker import worker_classes

    source = "".join(map(inspect.getsource, (intermediate_queue, registry, worker_classes)))
    assert "f'Work-horse terminated unexpectedly; waitpid returned" in source
    assert "Moved to {FailedJobRegistry.__name__}, due to {AbandonedJobError.__name__}, at" in source
    assert "Job was stuck in intermediate queue." in source
    assert "Job stopped by user, work-horse terminated." in source


def test_an_exception_line_without_a_traceback() -> None:
    assert parse_traceback("shop.errors.CardError: no\nmoney").exc_type == "shop.errors.CardError"
    assert parse_traceback("Note: no error").exc_type == ""


def test_windows_line_ends_and_a_cut_off_end() -> None:
    text = 'Traceback (most recent call last):\r\n  File "C:\\app\\x.py", line 1, in run\r\n    go()\r\nOSError: no\r\n'
    raised = parse_traceback(text)
    assert (raised.exc_type, raised.message) == ("OSError", "no")
    assert raised.frames == (Frame("C:\\app\\x.py", "run"),)
    assert parse_traceback(text[:60]).exc_type == ""


def test_frames_are_outermost_first_and_those_of_the_last_exception() -> None:
    functions = [frame.function for frame in parse_traceback(printed(from_another)).frames]
    assert functions == ["printed", "from_another"]


@given(st.text(max_size=300))
def test_any_message_of_one_exception_is_its_message(message: str) -> None:
    """But for line ends, white space at the ends and what looks like a chain of exceptions."""
    text = f'Traceback (most recent call last):\n  File "a.py", line 1, in run\n    go()\nValueError: {message}\n'
    raised = parse_traceback(text)
    assert raised.exc_type == "ValueError"
    assert raised.message == message.replace("\r\n", "\n").strip()[:1000]


PIECES = [
    *' |+-\n":.rl',
    "Traceback (most recent call last):\n",
    "  + Exception Group ",
    '  File "a", line 1, in b\n',
    "+-+--",
]


@given(st.lists(st.sampled_from(PIECES), max_size=100).map("".join))
def test_no_text_is_too_much(text: str) -> None:
    raised = parse_traceback(text)
    assert len(raised.message) <= 1000


def test_a_megabyte_is_read_in_time() -> None:
    lines = '  File "a.py", line 1, in run\n    go()\n' * 25_000
    raised = parse_traceback(f"Traceback (most recent call last):\n{lines}ValueError: {'x' * 100_000}")
    assert raised.exc_type == "ValueError"
    assert len(raised.message) == 1000
