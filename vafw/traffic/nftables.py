"""Writes a ruleset as nftables text, for a Linux router that is to decide as `engine.py` does.

Pure: a `Ruleset` and two interface names in, text for ``nft -f`` out; the same ruleset gives the same text. One table
with one filtering chain; its policy is drop, whatever the default says, so that a half-loaded table passes nothing.
Each rule has one named counter, however many statements it needs.

Two families. ``inet`` is for a router, whose kernel routes between the two interfaces. ``bridge`` is for a transparent
filter between two ports of a bridge: the chain hangs at prerouting, as the kernel rejects in that family there only,
and lets neighbours find each other.

The kernel does by itself what the engine has its own words for: it drops malformed packets on input, reassembles
fragments before its tracker sees them, and answers ARP and neighbour discovery instead of passing it on. A bridge
passes no frame with two VLAN tags, and takes one with a tag for the connection of the same packets without.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nft_statement import (
    EVERYTHING,
    HEADER,
    Family,
    address_set,
    any_packet,
    counter_name,
    limit_name,
    set_stems,
    statements,
    verdicts,
)
from vafw.traffic.reason import DEFAULT, ESTABLISHED, INVALID, MALFORMED, NEIGHBOUR, RELATED, SPOOFED
from vafw.traffic.rule import Rule, Ruleset, State

_HOOKS: Final[dict[Family, str]] = {
    "inet": "forward priority filter",
    "bridge": "prerouting priority 0",  # after the bridge's connection tracker, at -200
}
_EARLY_HOOKS: Final[dict[Family, str]] = {"inet": "prerouting priority raw", "bridge": "prerouting priority -300"}
_MALFORMED: Final[dict[Family, tuple[str, ...]]] = {
    "inet": ("rt seg-left > 0",),
    "bridge": (
        "rt seg-left > 0",
        "ip saddr { 127.0.0.0/8, 224.0.0.0/4, 255.255.255.255 }",
        "ip daddr 127.0.0.0/8",
        "ip6 saddr { ::1, ff00::/8 }",
        "ip6 daddr ::1",
    ),
}
"""A routing header with segments left, which names another destination than the packet's own (RFC 8200, 4.4); addresses
that no packet on a network may carry (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3): a router knows these, a bridge does not ask.
"""
_NEIGHBOUR_TYPES: Final = "icmpv6 type 133-136"
_ON_LINK: Final = ("ip6 daddr ff02::/16", "ip6 daddr fe80::/10")
_NAMED_SET: Final = {4: "ipv4_addr", 6: "ipv6_addr"}


def nftables_text(ruleset: Ruleset, *, inside: str, outside: str, table: str = "vafw", family: Family = "inet") -> str:
    """Text for ``nft -f`` that replaces the table; `inside` and `outside` are the interfaces of the two sides."""
    if family == "inet" and any(rule.vlans for rule in ruleset.rules):
        raise ValueError("a router has one interface for each VLAN; rules about VLANs are for a bridge")
    interfaces = {INSIDE: inside, OUTSIDE: outside}
    lines = [f"table {family} {table}", f"delete table {family} {table}", "", f"table {family} {table} {{"]
    lines += _objects(ruleset)
    lines += ["", *_early_chain(ruleset, inside, family)]
    lines += ["", "\tchain forward {", f"\t\ttype filter hook {_HOOKS[family]}; policy drop;"]
    lines += [f"\t\t{each}" for each in _body(ruleset, interfaces, family)]
    return "\n".join([*lines, "\t}", "}", ""])


def _objects(ruleset: Ruleset) -> Iterator[str]:
    """Counters, limits and the sets that DNS answers fill."""
    for rule in _by_name(ruleset):
        yield f"\tcounter {counter_name(rule.name)} {{ }}"
    for rule in _by_name(ruleset):
        if rule.limit is not None:
            rate = f"rate {rule.limit.packets}/{rule.limit.unit} burst {rule.limit.burst} packets"
            yield f"\tlimit {limit_name(rule.name)} {{ {rate}; }}"
    for name, stem in set_stems(ruleset.rules).items():
        for version, kind in _NAMED_SET.items():
            yield f'\tset {stem}-v{version} {{ type {kind}; flags timeout; comment "{name}"; }}'


def _by_name(ruleset: Ruleset) -> Iterator[Rule]:
    return iter({rule.name: rule for rule in ruleset.rules}.values())


def _body(ruleset: Ruleset, interfaces: dict[str, str], family: Family) -> Iterator[str]:
    """The filtering chain: what is tracked first, then rules about new packets, then the default."""
    sets = set_stems(ruleset.rules)

    def about(state: State) -> Iterator[str]:
        for rule in ruleset.rules_for([state]):
            yield from statements(rule, interfaces, family, sets, state)

    if family == "bridge":
        yield f'arp htype 1 arp ptype ip arp hlen 6 arp plen 4 counter accept comment "{NEIGHBOUR}"'
        for on_link in (*_ON_LINK, *_inner_links(ruleset)):
            yield f'ip6 hoplimit 255 {_NEIGHBOUR_TYPES} {on_link} counter accept comment "{NEIGHBOUR}"'
    yield from about(State.ESTABLISHED)
    yield f'ct state established counter accept comment "{ESTABLISHED}"'
    yield from about(State.RELATED)
    yield f'ct state related counter accept comment "{RELATED}"'
    yield from about(State.INVALID)
    yield f'ct state invalid counter drop comment "{INVALID}"'
    yield f'{_NEIGHBOUR_TYPES} counter drop comment "{INVALID}"'
    yield from about(State.NEW)
    yield from (f'{each} comment "{DEFAULT}"' for each in verdicts(ruleset.default, "", "counter"))


def _inner_links(ruleset: Ruleset) -> Iterator[str]:
    """Unicast neighbour discovery within a /64 of the inside; that both ends share one is said prefix by prefix.

    Where the inside may use any source there is no such prefix, and neighbours fall back to multicast.
    """
    ranges = () if ruleset.inside is None else ruleset.inside.v6
    prefixes = dict.fromkeys(edge >> 64 for low, high in ranges if high >> 64 == low >> 64 for edge in (low,))
    for prefix in prefixes:
        network = f"{IPv6Address(prefix << 64)}/64"
        yield f"ip6 saddr {network} ip6 daddr {network}"


def _early_chain(ruleset: Ruleset, inside: str, family: Family) -> Iterator[str]:
    """Before the tracker, so that what is refused here moves no connection on."""
    yield "\tchain early {"
    yield f"\t\ttype filter hook {_EARLY_HOOKS[family]}; policy accept;"
    for each in _MALFORMED[family]:
        yield f'\t\t{each} counter drop comment "{MALFORMED}"'
    for version, header in HEADER.items() if ruleset.inside is not None else ():
        assert ruleset.inside is not None
        allowed = ruleset.inside.ranges(version)
        if allowed == EVERYTHING[version]:
            continue
        other = f"{header} saddr != {address_set(allowed, version)}" if allowed else any_packet(version, family)
        exempt = ("meta l4proto != ipv6-icmp ", "icmpv6 type != 133-136 ") if version == 6 else ("",)
        for unless in exempt:
            yield f'\t\tiifname "{inside}" {other} {unless}counter drop comment "{SPOOFED}"'
    yield "\t}"
