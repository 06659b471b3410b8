"""A `dns:` section as the configuration of Unbound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from vafw.document.sections import DnsSection

ROOT_ANCHORS: Final = (
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
)
"""The root zone's key signing keys of 2017 and 2024 (IANA, "Root Zone Trust Anchors")."""
PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fd00::/8", "fe80::/10")
"""Addresses that no name outside may stand for."""


def unbound_text(section: DnsSection, blocked: Iterable[str], clients: Iterable[str]) -> str:
    """Text for ``unbound.conf``; `blocked` are the names of its lists, `clients` the networks that may ask."""
    return "\n".join([*_server(section, blocked, clients), *_forward(section), ""])


def _server(section: DnsSection, blocked: Iterable[str], clients: Iterable[str]) -> Iterator[str]:
    yield "server:"
    yield "    interface: 0.0.0.0"
    yield "    interface: ::0"
    yield "    access-control: 0.0.0.0/0 refuse"
    yield "    access-control: ::0/0 refuse"
    for client in sorted(clients):
        yield f"    access-control: {client} allow"
    yield "    hide-identity: yes"
    yield "    hide-version: yes"
    yield "    qname-minimisation: yes"
    yield f'    module-config: "{"validator " if section.dnssec else ""}iterator"'
    if section.dnssec:
        yield "    harden-dnssec-stripped: yes"
        yield from (f'    trust-anchor: "{anchor}"' for anchor in ROOT_ANCHORS)
    yield from (f"    private-address: {network}" for network in PRIVATE)
    if section.tls_name:
        yield "    tls-system-cert: yes"
    passed = sorted({name.removeprefix("*.") for name in section.allow})
    yield from (f'    local-zone: "{name}." always_transparent' for name in passed)
    yield from (f'    local-zone: "{name}." always_nxdomain' for name in sorted(set(blocked) - set(passed)))


def _forward(section: DnsSection) -> Iterator[str]:
    if not section.upstreams:
        return
    yield "forward-zone:"
    yield '    name: "."'
    if section.tls_name:
        yield "    forward-tls-upstream: yes"
    suffix = f"@853#{section.tls_name}" if section.tls_name else ""
    yield from (f"    forward-addr: {address}{suffix}" for address in section.upstreams)
