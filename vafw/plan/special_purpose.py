"""Addresses that are not the internet: the special-purpose ranges of both families, and what is left without them.

Sources: IANA, "IPv4 Special-Purpose Address Registry" and "IPv6 Special-Purpose Address Registry" (RFC 6890, RFC 8190),
IANA, "IPv4 Multicast Address Space Registry", and IANA, "Internet Protocol Version 6 Address Space". Each row names the
document that the registry cites.

A range that the registries call globally reachable is the internet, with two exceptions, both on the careful side:
64:ff9b::/96 can stand for any IPv4 address, private ones among them, and the anycast addresses inside 192.0.0.0/24 and
2001::/23 serve the network they are used in.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from vafw.traffic.rule import AddressSet


class SpecialPurpose(NamedTuple):
    """One range that is not the internet."""

    network: IPv4Network | IPv6Network
    name: str
    """What the registry calls it."""
    source: str
    """The document that the registry cites."""


def _row(network: str, name: str, source: str) -> SpecialPurpose:
    return SpecialPurpose(ip_network(network), name, source)


SPECIAL_PURPOSE: Final = (
    _row("0.0.0.0/8", "this network", "RFC 791"),
    _row("10.0.0.0/8", "private use", "RFC 1918"),
    _row("100.64.0.0/10", "shared address space", "RFC 6598"),
    _row("127.0.0.0/8", "loopback", "RFC 1122"),
    _row("169.254.0.0/16", "link local", "RFC 3927"),
    _row("172.16.0.0/12", "private use", "RFC 1918"),
    _row("192.0.0.0/24", "IETF protocol assignments", "RFC 6890"),
    _row("192.0.2.0/24", "documentation (TEST-NET-1)", "RFC 5737"),
    _row("192.88.99.0/24", "deprecated (6to4 relay anycast)", "RFC 7526"),
    _row("192.168.0.0/16", "private use", "RFC 1918"),
    _row("198.18.0.0/15", "benchmarking", "RFC 2544"),
    _row("198.51.100.0/24", "documentation (TEST-NET-2)", "RFC 5737"),
    _row("203.0.113.0/24", "documentation (TEST-NET-3)", "RFC 5737"),
    _row("224.0.0.0/4", "multicast", "RFC 5771"),
    _row("240.0.0.0/4", "reserved, with the limited broadcast address", "RFC 1112"),
    _row("::/8", "reserved: unspecified, loopback, IPv4-mapped", "RFC 4291"),
    _row("64:ff9b::/96", "IPv4-IPv6 translation", "RFC 6052"),
    _row("64:ff9b:1::/48", "IPv4-IPv6 translation, local use", "RFC 8215"),
    _row("100::/64", "discard only", "RFC 6666"),
    _row("100:0:0:1::/64", "dummy prefix", "RFC 9780"),
    _row("2001::/23", "IETF protocol assignments, with Teredo", "RFC 2928"),
    _row("2001:db8::/32", "documentation", "RFC 3849"),
    _row("2002::/16", "6to4", "RFC 3056"),
    _row("3fff::/20", "documentation", "RFC 9637"),
    _row("5f00::/16", "segment routing (SRv6) SIDs", "RFC 9602"),
    _row("fc00::/7", "unique local", "RFC 4193"),
    _row("fe80::/10", "link-local unicast", "RFC 4291"),
    _row("fec0::/10", "deprecated (site-local unicast)", "RFC 3879"),
    _row("ff00::/8", "multicast", "RFC 4291"),
)
"""Every range that is not the internet, IPv4 first, each family in order."""

PUBLIC: Final = AddressSet.of(row.network for row in SPECIAL_PURPOSE).complement()
"""Every other address."""

_NEVER_NAMED: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.168.0.0/16", "224.0.0.0/3", "::/8", "64:ff9b::/96", "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10",
            "ff00::/8",
        ),
    )
)  # fmt: skip
NAMEABLE: Final = AddressSet.of(_NEVER_NAMED).complement()
"""Addresses that a host name in a rule may come to stand for: whoever answers for a name must not be able to let it
stand for a host of the local network, this machine or a group ("DNS rebinding")."""
