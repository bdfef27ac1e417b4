"""Every element that a page opens, it closes, in order: browsers mend what does not fit, each in its own way."""

from html.parser import HTMLParser

import pytest

from tests.pages.test_look import PAGES, busy_fleet
from tests.support.cast import Cast, signed_in

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# HTML lets these end where their parent does.
CLOSED_BY_PARENT = {"dd", "dt", "li", "option", "p", "tbody", "td", "th", "thead", "tr"}


class Balance(HTMLParser):
    """``faults`` names each end that ends another element than the one that is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As SVG writes it."""

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in CLOSED_BY_PARENT:
            self.open.pop()
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.faults.append(f"line {self.getpos()[0]}: </{tag}> in {self.open[-3:]}")


def faults_of(page: str) -> list[str]:
    balance = Balance()
    balance.feed(page)
    return balance.faults + [f"never closed: {tag}" for tag in balance.open]


def test_a_missing_end_is_found() -> None:
    assert faults_of("<div><p>a<ul><li>b</ul></div><br>") == []
    assert faults_of("<form><fieldset><p>a</p></form>") != []
    assert faults_of("<div>") == ["never closed: div"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", PAGES)
def test_every_element_is_closed(cast: Cast, path: str) -> None:
    busy_fleet(cast)
    assert faults_of(signed_in(cast.ada).get(path).content.decode()) == []
