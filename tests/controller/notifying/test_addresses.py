"""Where a webhook may connect to, whatever its name says."""

import socket
from ipaddress import ip_address
from typing import Any

import pytest
from pytest_django import Settings

from pools.controller.notifying.addresses import checked_address, is_allowed
from pools.controller.notifying.undeliverable import Undeliverable

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]
NEVER = [
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%lo",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str) -> None:
    assert is_allowed(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_only_where_the_installation_says_so(address: str, settings: Settings) -> None:
    settings.POOLWARDEN_WEBHOOK_PRIVATE = False
    assert not is_allowed(ip_address(address))
    settings.POOLWARDEN_WEBHOOK_PRIVATE = True
    assert is_allowed(ip_address(address))


@pytest.mark.parametrize("address", NEVER)
def test_some_never(address: str, settings: Settings) -> None:
    settings.POOLWARDEN_WEBHOOK_PRIVATE = True
    assert not is_allowed(ip_address(address))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "::1"])
def test_other_ways_to_write_loopback_gain_nothing(host: str, settings: Settings) -> None:
    settings.POOLWARDEN_WEBHOOK_PRIVATE = False
    with pytest.raises(Undeliverable):
        checked_address(host, 443)


def test_one_address_that_is_not_allowed_is_enough(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.POOLWARDEN_WEBHOOK_PRIVATE = False

    def two(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 443)) for text in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with pytest.raises(Undeliverable, match=r"hooks\.example is not at a public address"):
        checked_address("hooks.example", 443)


def test_a_name_without_an_address(settings: Settings) -> None:
    with pytest.raises(Undeliverable, match="has no address"):
        checked_address("nothing.invalid", 443)
