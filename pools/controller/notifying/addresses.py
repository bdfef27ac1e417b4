"""Where a webhook may connect to. People choose its address, so the controller must not be their way into a network.

The name is resolved once, every address it has is checked, and the connection goes to a checked one: a name that
resolves to something else a moment later gains nothing.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings

from pools.controller.notifying.undeliverable import Undeliverable

PRIVATE = [
    ip_network(text)
    for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
"""Refused unless the installation says ``POOLWARDEN_WEBHOOK_PRIVATE``."""
METADATA = {
    ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42")
}
"""Where clouds give out credentials, besides the link-local 169.254.0.0/16. Never."""
NAT64 = ip_network("64:ff9b::/96")

type Address = IPv4Address | IPv6Address


def checked_address(host: str, port: int) -> str:
    """An address of ``host`` to connect to. Raises Undeliverable when it has none, or one that is not allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Undeliverable(f"{host} has no address") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not all(is_allowed(ip_address(address)) for address in addresses):
        raise Undeliverable(f"{host} is not at a public address")
    return addresses[0]


def is_allowed(address: Address) -> bool:
    """Public, or private where the installation allows it; never one of this link, of metadata, or of many hosts."""
    address = _innermost(address)
    if address in METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if any(address in network for network in PRIVATE):
        return bool(settings.POOLWARDEN_WEBHOOK_PRIVATE)
    return address.is_global and not address.is_reserved


def is_loopback(address: str) -> bool:
    return _innermost(ip_address(address)).is_loopback


def _innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 address leads to, or itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
