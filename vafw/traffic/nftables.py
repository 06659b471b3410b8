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
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

from vafw.traffic.address_set import MAX_V4, MAX_V6, Ranges
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.first_match import addresses_on, service_ranges
from vafw.traffic.reason import DEFAULT, ESTABLISHED, INVALID, MALFORMED, NEIGHBOUR, RELATED, SPOOFED
from vafw.traffic.rule import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, Action, Rule, Ruleset, suits

_EVERYTHING: Final[dict[int, Ranges]] = {4: ((0, MAX_V4),), 6: ((0, MAX_V6),)}
_FAMILY: Final = {4: "ip", 6: "ip6"}
Family: TypeAlias = Literal["inet", "bridge"]
_HOOKS: Final[dict[Family, str]] = {
    "inet": "forward priority filter",
    "bridge": "prerouting priority 0",  # after the bridge's connection tracker, at -200
}
_SPOOFED_HOOKS: Final[dict[Family, str]] = {"inet": "prerouting priority raw", "bridge": "prerouting priority -300"}
_SELECTOR: Final = {TCP: "tcp dport", UDP: "udp dport", ICMP: "icmp type", ICMPV6: "icmpv6 type"}
_NEIGHBOURS: Final[dict[Family, tuple[str, ...]]] = {
    "inet": (),
    "bridge": (
        f'arp htype 1 arp ptype ip arp hlen 6 arp plen 4 counter accept comment "{NEIGHBOUR}"',
        f'ip6 hoplimit 255 icmpv6 type 133-136 counter accept comment "{NEIGHBOUR}"',
    ),
}
_MALFORMED: Final[dict[Family, tuple[str, ...]]] = {
    "inet": (),
    "bridge": (
        "ip saddr { 127.0.0.0/8, 224.0.0.0/4, 255.255.255.255 }",
        "ip daddr 127.0.0.0/8",
        "ip6 saddr { ::1, ff00::/8 }",
        "ip6 daddr ::1",
    ),
}
"""Addresses that no packet on a network may carry (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3): a router knows, a bridge does
not ask."""


def nftables_text(ruleset: Ruleset, *, inside: str, outside: str, table: str = "vafw", family: Family = "inet") -> str:
    """Text for ``nft -f`` that replaces the table; `inside` and `outside` are the interfaces of the two sides."""
    interfaces = {INSIDE: inside, OUTSIDE: outside}
    lines = [f"table {family} {table}", f"delete table {family} {table}", "", f"table {family} {table} {{"]
    lines += [f"\tcounter {_counter(rule.name)} {{ }}" for rule in _by_name(ruleset)]
    if _MALFORMED[family]:
        lines += ["", *_malformed_chain(family)]
    if ruleset.inside is not None:
        lines += ["", *_spoofed_chain(ruleset, inside, family)]
    lines += [
        "",
        "\tchain forward {",
        f"\t\ttype filter hook {_HOOKS[family]}; policy drop;",
        *(f"\t\t{each}" for each in _NEIGHBOURS[family]),
        f'\t\tct state established counter accept comment "{ESTABLISHED}"',
        f'\t\tct state related counter accept comment "{RELATED}"',
        f'\t\tct state invalid counter drop comment "{INVALID}"',
        f'\t\ticmpv6 type 133-136 counter drop comment "{INVALID}"',
    ]
    for rule in ruleset.rules:
        lines += [f"\t\t{statement}" for statement in _statements(rule, interfaces, family)]
    lines += [f'\t\t{each} comment "{DEFAULT}"' for each in _verdicts(ruleset.default, "", "counter")]
    return "\n".join([*lines, "\t}", "}", ""])


def _by_name(ruleset: Ruleset) -> Iterator[Rule]:
    return iter({rule.name: rule for rule in ruleset.rules}.values())


def _counter(name: str) -> str:
    return f"rule-{name}"


def _malformed_chain(family: Family) -> Iterator[str]:
    """Before the tracker, as the next."""
    yield "\tchain malformed {"
    yield f"\t\ttype filter hook {_SPOOFED_HOOKS[family]}; policy accept;"
    for each in _MALFORMED[family]:
        yield f'\t\t{each} counter drop comment "{MALFORMED}"'
    yield "\t}"


def _spoofed_chain(ruleset: Ruleset, inside: str, family: Family) -> Iterator[str]:
    """Before the tracker, so that a spoofed packet moves no connection on."""
    assert ruleset.inside is not None
    yield "\tchain spoofed {"
    yield f"\t\ttype filter hook {_SPOOFED_HOOKS[family]}; policy accept;"
    for version, header in _FAMILY.items():
        allowed = ruleset.inside.ranges(version)
        if allowed == _EVERYTHING[version]:
            continue
        other = f"{header} saddr != {_set(allowed, version)}" if allowed else _any(version, family)
        exempt = ("meta l4proto != ipv6-icmp ", "icmpv6 type != 133-136 ") if version == 6 else ("",)
        for unless in exempt:
            yield f'\t\tiifname "{inside}" {other} {unless}counter drop comment "{SPOOFED}"'
    yield "\t}"


def _statements(rule: Rule, interfaces: dict[str, str], family: Family) -> Iterator[str]:
    """The rule as nftables rules: per side where it matters, per family, per protocol."""
    for version in (4, 6):
        by_side = {side: _addresses(rule, side, version, family) for side in interfaces}
        if by_side[INSIDE] == by_side[OUTSIDE]:
            prefixed = [by_side[INSIDE]]
        else:
            prefixed = [
                None if match is None else f'iifname "{interfaces[side]}" {match}' for side, match in by_side.items()
            ]
        for match in prefixed:
            if match is None:
                continue
            for service in _services(rule, version):
                condition = f"{match}{service}"
                counter = f'counter name "{_counter(rule.name)}"'
                log = f'log prefix "vafw {rule.name}: " ' if rule.log else ""
                for verdict in _verdicts(rule.action, condition, f"{counter} {log}".rstrip()):
                    yield f'{verdict} comment "{rule.name}"'


def _any(version: int, family: Family) -> str:
    """What every packet of an IP version matches: on a bridge, the family of the hook says nothing of it."""
    return f"meta nfproto ipv{version}" if family == "inet" else f"meta protocol {_FAMILY[version]}"


def _addresses(rule: Rule, side: str, version: int, family: Family) -> str | None:
    """The part of a statement that speaks of addresses; None where no packet of this side and family can match."""
    sources = addresses_on(rule.sources, side).ranges(version)
    destinations = addresses_on(rule.destinations, opposite(side)).ranges(version)
    if not sources or not destinations:
        return None
    parts = [
        f"{_FAMILY[version]} {key} {_set(ranges, version)}"
        for key, ranges in (("saddr", sources), ("daddr", destinations))
        if ranges != _EVERYTHING[version]
    ]
    return " ".join(parts or [_any(version, family)]) + " "


def _services(rule: Rule, version: int) -> Iterator[str]:
    if not rule.services:
        yield ""
        return
    for protocol in sorted({each.protocol for each in rule.services if suits(each.protocol, version)}):
        ranges = service_ranges(rule.services, protocol)
        if protocol in _SELECTOR and ranges != ((0, 0xFFFF),):
            yield f"{_SELECTOR[protocol]} {_numbers(ranges)} "
        else:
            yield f"meta l4proto {_protocol(protocol)} "


def _protocol(protocol: int) -> str:
    return {ICMPV6: "ipv6-icmp"}.get(protocol, PROTOCOL_NAMES.get(protocol, str(protocol)))


def _verdicts(action: Action, condition: str, counter: str) -> Iterator[str]:
    """Condition and verdict; a rejection answers TCP in TCP's own way."""
    if action is not Action.REJECT:
        yield f"{condition}{counter} {action.value}"
        return
    named = [name for name in ("tcp dport", "meta l4proto tcp") if name in condition]
    others = [name for name in ("udp dport", "icmp type", "icmpv6 type", "meta l4proto") if name in condition]
    if named or not others:
        yield f"{condition}{'' if named else 'meta l4proto tcp '}{counter} reject with tcp reset"
    if not named:
        yield f"{condition}{counter} reject with icmpx admin-prohibited"


def _numbers(ranges: Ranges) -> str:
    texts = [f"{low}" if low == high else f"{low}-{high}" for low, high in ranges]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


def _set(ranges: Ranges, version: int) -> str:
    address = IPv4Address if version == 4 else IPv6Address
    texts = [str(address(low)) if low == high else f"{address(low)}-{address(high)}" for low, high in ranges]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"
