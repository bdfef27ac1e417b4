"""Where a form may lead back to."""

import pytest
from django.test import RequestFactory

from controlplane.http import safe_next


@pytest.mark.parametrize("path", ["/", "/pools/?q=a&team=b", "/audit/events/7/#proof", "/dead-letters/?q=%00"])
def test_a_path_on_this_host(path: str) -> None:
    assert safe_next(RequestFactory().post("/", {"next": path}), "/home/") == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        "",
        "overview",
        "nul \x00 inside",
        "/nul\x00",
        "/two\r\nSet-Cookie: a=b",
        "//evil.example/",
        "/\\evil.example/",
        "https://evil.example/",
        "http://testserver/",
        "javascript:alert(1)",
        "\t//evil.example",
    ],
)
def test_anything_else_leads_to_where_the_view_says(elsewhere: str) -> None:
    assert safe_next(RequestFactory().post("/", {"next": elsewhere}), "/home/") == "/home/"
