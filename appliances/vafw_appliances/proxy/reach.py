"""Addresses that no name may lead to: a proxy that connected there would be a way into networks behind its user's back.

DNS rebinding is such a way: somebody outside owns a name, and answers with an address inside. So is an address that
carries another one in itself (mapped, translated, tunnelled). What is not listed here is the firewall's to judge, who
sees the proxy's packets as it sees everybody's. Networks for documentation are nobody's, and not refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeAlias

from vafw.traffic.host.stack import Address, Interface

Network: TypeAlias = "IPv4Network | IPv6Network"

FORBIDDEN: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "special"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("64:ff9b::/96", "translated"),
        ("64:ff9b:1::/48", "translated"),
        ("::/8", "special"),
        ("2001::/32", "tunnelled"),
        ("2002::/16", "tunnelled"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
"""IANA's registries of special-purpose addresses, as far as they can lead inside (RFC 6890); ``::/8`` holds the
unspecified address, loopback, and IPv4 addresses mapped or written as compatible ones."""


def forbidden(address: Address, links: Iterable[Interface]) -> str | None:
    """What kind of address it is that nobody may be led to; None: it may be reached. `links` are the proxy's own."""
    if any(address in each.network for each in links):
        return "of the user's own network"
    return next((what for network, what in FORBIDDEN if address in network), None)
