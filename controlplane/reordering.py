"""Characters that reorder their neighbours do so on no page: whoever names a job cannot make an id, a task or an error
read as another one (Trojan Source, CVE-2021-42574). Forms and links keep what they hold: nothing is changed by being
shown.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

REORDERS = re.compile(rb"\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
"""Embeddings, overrides and isolates (U+202A to 202E, U+2066 to 2069) in UTF-8; marks, as Arabic has them, are none."""
KEPT = re.compile(
    rb"""<textarea\b.*?</textarea>|\b(?:value|href|action|formaction|data-[\w-]+)="[^"]*"|""" + REORDERS.pattern,
    re.DOTALL,
)


class ReorderingMiddleware:
    """Spells them out in HTML, as ``⟨U+202E⟩``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if isinstance(response, HttpResponse) and response.get("Content-Type", "").startswith("text/html"):
            response.content = spelt_out(response.content)
        return response


def spelt_out(page: bytes) -> bytes:
    """The page, encoded in UTF-8, with what reorders its text spelt out."""
    return KEPT.sub(_shown, page) if REORDERS.search(page) else page


def _shown(found: re.Match[bytes]) -> bytes:
    text = found[0]
    return f"⟨U+{ord(text.decode()):04X}⟩".encode() if REORDERS.fullmatch(text) else text
