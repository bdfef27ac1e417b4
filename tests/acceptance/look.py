"""What a careful reader finds on any page: axe's rules in both themes and at two widths, overflow, broken scripts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import ConsoleMessage, Page

WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
OVERFLOW = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide <= 0) return "";
  const out = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1);
  return `${wide} px too wide: ` + out.slice(0, 3).map((e) => e.outerHTML.slice(0, 120)).join(" | ");
}"""
# Only the verdict crosses the wire: the full result of a long table is megabytes.
RUN_AXE = """async (rules) => {
  const options = rules ? {runOnly: rules, resultTypes: ["violations"]} : {resultTypes: ["violations"]};
  const {violations} = await axe.run(document, options);
  const where = (nodes) => nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ");
  return violations.map((v) => `${v.id}: ${v.help}: ${where(v.nodes)}`);
}"""
THEME = "theme => { document.documentElement.dataset.bsTheme = theme; }"


@dataclass
class Findings:
    """What is wrong, by page. ``where`` is the page that is open now."""

    where: str = ""
    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str) -> None:
        self.found.setdefault(self.where, []).append(what)

    def watch(self, page: Page) -> None:
        """Note every error of the page's scripts, and whatever the content security policy stopped."""
        page.on("console", lambda message: self._note(page, message))
        page.on("pageerror", lambda error: self.add(f"script: {error}"))

    def _note(self, page: Page, message: ConsoleMessage) -> None:
        is_the_page_itself = message.location.get("url") == page.url and "Failed to load" in message.text
        if message.type == "error" and not is_the_page_itself:
            self.add(f"console: {message.text}")

    def __str__(self) -> str:
        return "\n".join(f"{where}\n    " + "\n    ".join(found) for where, found in self.found.items())


def inspect(page: Page, findings: Findings, state: str = "") -> None:
    """Run every rule at both widths, and those on colour again in the other theme, without leaving the page.

    axe comes by Playwright's own channel: the page's content security policy stays as it is.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    for name, (width, height) in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme, rules in (("light", None), ("dark", ["color-contrast"])):
            page.evaluate(THEME, theme)
            findings.where = f"{page.url} {state} ({name}, {theme})"
            for violation in page.evaluate(RUN_AXE, rules):
                findings.add(violation)
        if overflow := page.evaluate(OVERFLOW):
            findings.add(overflow)
    page.set_viewport_size({"width": 1440, "height": 900})


@contextmanager
def findings_of(page: Page) -> Iterator[Findings]:
    """Collect over several pages and fail once, with everything."""
    findings = Findings()
    findings.watch(page)
    yield findings
    assert not findings.found, f"\n{findings}"
