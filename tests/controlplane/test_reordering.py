"""No page lets a character reorder its neighbours; forms and links keep it."""

import re

import pytest

from controlplane.reordering import spelt_out
from pools.models import DeadLetter, Pool
from tests.dead_letters.letters import failed, with_traceback
from tests.support import factories as make
from tests.support.cast import make_cast, signed_in

REORDERS = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]


@pytest.mark.parametrize("character", REORDERS, ids=lambda character: f"U+{ord(character):04X}")
def test_they_are_spelt_out(character: str) -> None:
    page = f'<td title="a{character}b">x{character}y</td>'.encode()
    shown = f"⟨U+{ord(character):04X}⟩"
    assert spelt_out(page).decode() == f'<td title="a{shown}b">x{shown}y</td>'


@pytest.mark.parametrize(
    "page",
    [
        "<p>\u201cquoted\u201d \u2013 on\u2026 \u27e8b\u27e9 \u0645\u0631\u062d\u0628\u0627\u200f \u200e \u200d</p>",
        '<input value="a\u202eb">',
        '<button data-copy="a\u202eb">',
        '<a href="/jobs/a\u202eb/">',
        '<form action="/a\u202eb">',
        "<textarea>a\u202eb\n\u2066</textarea>",
        "",
    ],
)
def test_nothing_else_is_changed_nor_what_is_sent_back(page: str) -> None:
    assert spelt_out(page.encode()).decode() == page


def test_what_stands_between_two_forms_is_not_kept() -> None:
    page = '<textarea>a\u202e</textarea>b\u202ec<textarea></textarea><i data-x="\u202e" title="\u202e">'
    shown = '<textarea>a\u202e</textarea>b⟨U+202E⟩c<textarea></textarea><i data-x="\u202e" title="⟨U+202E⟩">'
    assert spelt_out(page.encode()).decode() == shown


@pytest.mark.django_db
def test_on_every_page_of_a_job_that_names_itself_so() -> None:
    cast = make_cast()
    pool: Pool = make.pool(cast.payments)
    evil = "\u202eexe.gpj\u2066"
    group = failed(pool, evil, title=f"{evil}: {evil}", func=evil, queue=evil, host=evil)
    letter = DeadLetter.objects.get()
    with_traceback(letter, f"Traceback {evil}")
    client = signed_in(cast.bob)
    for url in ("/dead-letters/", "/dead-letters/?show=jobs", f"/dead-letters/groups/{group.pk}/", "/"):
        page = client.get(url, follow=True)
        shown = re.sub(r'(value|href|data-[\w-]+)="[^"]*"', "", page.content.decode())
        assert page.status_code == 200 and not any(character in shown for character in REORDERS), url
        assert url == "/" or "⟨U+202E⟩exe.gpj⟨U+2066⟩" in shown
        assert int(page["Content-Length"]) == len(page.content)
