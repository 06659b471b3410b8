"""Writes a ruleset as nftables text, for a Linux router that is to decide as `engine.py` does.

Pure: a `Ruleset` and two interface names in, a `Table` or its text for ``nft -f`` out; the same ruleset gives the same
bytes. One filtering chain; its policy is drop, whatever the default says, so that a half-loaded table passes nothing.
Few rules become statements with a named counter each (`statement`), many become verdict maps whose elements count
and carry the rule's name (`verdict_maps`); `rules` decides which.

Two families. ``inet`` is for a router, whose kernel routes between the two interfaces. ``bridge`` is for a transparent
filter between two ports of a bridge: the chain hangs at prerouting, as the kernel rejects in that family there only,
and lets neighbours find each other.

The kernel does by itself what the engine has its own words for: it drops malformed packets on input, reassembles
fragments before its tracker sees them, and answers ARP and neighbour discovery instead of passing it on. A bridge
passes no frame with two VLAN tags, and takes one with a tag for the connection of the same packets without. It has no
flow table either (nf_flow_table_inet registers none for that family): `offload` says what a kernel may do, and a bridge
goes on asking its chain. So does a router with several uplinks: a flow's way back is looked up without its mark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nat import Nat, OwnAddresses, PortForward
from vafw.traffic.nftables import uplinks
from vafw.traffic.nftables.rules import Rules
from vafw.traffic.nftables.statement import (
    EVERYTHING,
    HEADER,
    Family,
    address_set,
    any_packet,
    counter_name,
    limit_name,
    set_stems,
    verdicts,
)
from vafw.traffic.nftables.table import Chain, Table
from vafw.traffic.packet import PROTOCOL_NAMES
from vafw.traffic.reason import DEFAULT, ESTABLISHED, INVALID, MALFORMED, NEIGHBOUR, RELATED, SPOOFED
from vafw.traffic.rule import Ruleset, State

Layout: TypeAlias = Literal["auto", "flat", "maps"]
"""Whether rules are written one by one, as verdict maps, or as suits their number."""
MOST_FLAT_RULES: Final = 64
_HOOKS: Final[dict[Family, str]] = {
    "inet": "forward priority filter",
    "bridge": "prerouting priority 0",  # after the bridge's connection tracker, at -200
}
_EARLY_HOOKS: Final[dict[Family, str]] = {
    "inet": "type filter hook prerouting priority raw",
    "bridge": "type filter hook prerouting priority -300",
}
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


def nftables_text(
    ruleset: Ruleset,
    *,
    inside: str,
    outside: str,
    table: str = "vafw",
    family: Family = "inet",
    own: OwnAddresses | None = None,
    further: Mapping[str, Collection[int]] | None = None,
    layout: Layout = "auto",
) -> str:
    """Text for ``nft -f`` that replaces the table; see `nftables_table`."""
    return nftables_table(
        ruleset, inside=inside, outside=outside, table=table, family=family, own=own, further=further, layout=layout
    ).text()


def nftables_table(
    ruleset: Ruleset,
    *,
    inside: str,
    outside: str,
    table: str = "vafw",
    family: Family = "inet",
    own: OwnAddresses | None = None,
    further: Mapping[str, Collection[int]] | None = None,
    layout: Layout = "auto",
) -> Table:
    """The table; `inside` and `outside` are the interfaces of the two sides, `own` the addresses of a router.

    `further` are the interfaces of its further uplinks, one for each of `own.further`, with the marks that choose them
    (`uplinks` says which routes that needs).
    ValueError says what of the ruleset nftables cannot do in this family.
    """
    _refuse_unable(ruleset, family, own)
    ruleset = replace(ruleset, offload=False) if further else ruleset
    wires, further = (outside, *(further or {})), further or {}
    interfaces = {INSIDE: f'"{inside}"', OUTSIDE: _named(wires)}
    written = Rules(interfaces, family, set_stems(ruleset.rules), _uses_maps(ruleset, family, layout))
    forward = tuple(_body(ruleset, written))
    chains = {name: Chain(rules) for name, rules in written.chains.items()}
    chains["early"] = Chain(tuple(_early(ruleset, inside, family)), _hook(_EARLY_HOOKS[family], "accept"))
    chains |= _translation(ruleset, inside, wires, own) if own is not None else {}
    if further and own is not None:
        ways = [uplinks.Further(*each) for each in zip(own.further, further.values(), strict=True)]
        chosen = uplinks.choice(ruleset.rules_for([State.NEW]), ways, interfaces, written.sets)
        chains[uplinks.CHAIN] = Chain(tuple(chosen), _hook(uplinks.HOOK, "accept"))
    chains["forward"] = Chain(forward, _hook(f"type filter hook {_HOOKS[family]}", "drop"))
    return Table(family, table, _objects(ruleset, (inside, *wires), written), written.maps, chains)


def _named(interfaces: Sequence[str]) -> str:
    """One interface, or the set of them, as nftables writes it."""
    quoted = [f'"{each}"' for each in interfaces]
    return quoted[0] if len(quoted) == 1 else f"{{ {', '.join(quoted)} }}"


def _hook(place: str, policy: str) -> str:
    return f"{place}; policy {policy};"


def _refuse_unable(ruleset: Ruleset, family: Family, own: OwnAddresses | None) -> None:
    if family == "inet" and any(rule.vlans for rule in ruleset.rules):
        raise ValueError("a router has one interface for each VLAN; rules about VLANs are for a bridge")
    if ruleset.nat != Nat() and (own is None or family == "bridge"):
        raise ValueError("a firewall without addresses of its own must have no nat")


def _uses_maps(ruleset: Ruleset, family: Family, layout: Layout) -> bool:
    """Few rules are read more easily, and matched as fast, one by one."""
    return layout == "maps" or (layout == "auto" and family == "inet" and len(ruleset.rules) > MOST_FLAT_RULES)


def _uses_flow_table(ruleset: Ruleset, family: Family) -> bool:
    return ruleset.offload and family == "inet"


def _objects(ruleset: Ruleset, interfaces: Sequence[str], written: Rules) -> dict[str, str]:
    """Counters, limits, the sets that DNS answers fill, and the flow table."""
    rules = {rule.name: rule for rule in ruleset.rules}
    found = {f"counter {counter_name(name)}": "" for name in rules if name in written.counted}
    for name, rule in rules.items():
        if rule.limit is not None:
            rate = f"rate {rule.limit.packets}/{rule.limit.unit} burst {rule.limit.burst} packets"
            found[f"limit {limit_name(name)}"] = f"{rate};"
    for name, stem in written.sets.items():
        for version, kind in _NAMED_SET.items():
            found[f"set {stem}-v{version}"] = f'type {kind}; flags timeout; comment "{name}";'
    if _uses_flow_table(ruleset, written.family):
        devices = ", ".join(f'"{each}"' for each in interfaces)
        found["flowtable fast"] = f"hook ingress priority filter; devices = {{ {devices} }};"
    return found


def _body(ruleset: Ruleset, written: Rules) -> Iterator[str]:
    """The filtering chain: what is tracked first, then rules about new packets, then the default."""
    if written.family == "bridge":
        yield f'arp htype 1 arp ptype ip arp hlen 6 arp plen 4 counter accept comment "{NEIGHBOUR}"'
        for on_link in (*_ON_LINK, *_inner_links(ruleset)):
            yield f'ip6 hoplimit 255 {_NEIGHBOUR_TYPES} {on_link} counter accept comment "{NEIGHBOUR}"'
    if _uses_flow_table(ruleset, written.family):
        yield "meta l4proto { tcp, udp } ct state established flow add @fast"
    yield from written.statements(ruleset.rules_for([State.ESTABLISHED]), State.ESTABLISHED)
    yield f'ct state established counter accept comment "{ESTABLISHED}"'
    yield from written.statements(ruleset.rules_for([State.RELATED]), State.RELATED)
    yield f'ct state related counter accept comment "{RELATED}"'
    yield from written.statements(ruleset.rules_for([State.INVALID]), State.INVALID)
    yield f'ct state invalid counter drop comment "{INVALID}"'
    yield f'{_NEIGHBOUR_TYPES} counter drop comment "{INVALID}"'
    yield from written.about_new(ruleset.rules_for([State.NEW]))
    yield from (f'{each} comment "{DEFAULT}"' for each in verdicts(ruleset.default, "", "counter"))


def _translation(ruleset: Ruleset, inside: str, wires: Sequence[str], own: OwnAddresses) -> dict[str, Chain]:
    """Port forwards before routing, masquerading after; only what the rules accept in between gets that far."""
    led = tuple(
        each
        for forward in ruleset.nat.forwards
        for outside, outer in zip(wires, own.outers, strict=True)
        for each in _led(forward, outside, outer)
    )
    hidden = tuple(
        f'iifname "{inside}" oifname "{outside}" {HEADER[version]} saddr '
        f"{address_set(sources, version)} counter snat {HEADER[version]} to {_address(version, outer[version])}"
        for outside, outer in zip(wires, own.outers, strict=True)
        for version in (4, 6)
        if (sources := ruleset.nat.masquerade.ranges(version)) and version in outer
    )
    return {
        "port-forwards": Chain(led, _hook("type nat hook prerouting priority dstnat", "accept")),
        "hidden-sources": Chain(hidden, _hook("type nat hook postrouting priority srcnat", "accept")),
    }


def _led(forward: PortForward, outside: str, outer: Mapping[int, int]) -> Iterator[str]:
    if forward.version not in outer:
        return
    ip, host = HEADER[forward.version], _address(forward.version, forward.host)
    low, high = forward.ports
    ports = f"{PROTOCOL_NAMES[forward.protocol]} dport"
    pairs = (f"{low + at} : {host} . {forward.to_port + at}" for at in range(high - low + 1))
    to = f"{ports} map {{ {', '.join(pairs)} }}"
    same = forward.to_port == low
    match = f'iifname "{outside}" {ip} daddr {_address(forward.version, outer[forward.version])}'
    match += f" {ports} {low}-{high}" if high > low else f" {ports} {low}"
    yield f'{match} counter dnat {ip} to {host if same else to} comment "{forward.name}"'


def _address(version: int, address: int) -> str:
    return str((IPv4Address if version == 4 else IPv6Address)(address))


def _inner_links(ruleset: Ruleset) -> Iterator[str]:
    """Unicast neighbour discovery within a /64 of the inside; that both ends share one is said prefix by prefix.

    Where the inside may use any source there is no such prefix, and neighbours fall back to multicast.
    """
    ranges = () if ruleset.inside is None else ruleset.inside.v6
    prefixes = dict.fromkeys(edge >> 64 for low, high in ranges if high >> 64 == low >> 64 for edge in (low,))
    for prefix in prefixes:
        network = f"{IPv6Address(prefix << 64)}/64"
        yield f"ip6 saddr {network} ip6 daddr {network}"


def _early(ruleset: Ruleset, inside: str, family: Family) -> Iterator[str]:
    """Before the tracker, so that what is refused here moves no connection on."""
    for each in _MALFORMED[family]:
        yield f'{each} counter drop comment "{MALFORMED}"'
    for version, header in HEADER.items() if ruleset.inside is not None else ():
        assert ruleset.inside is not None
        allowed = ruleset.inside.ranges(version)
        if allowed == EVERYTHING[version]:
            continue
        other = f"{header} saddr != {address_set(allowed, version)}" if allowed else any_packet(version, family)
        exempt = ("meta l4proto != icmpv6 ", "icmpv6 type != 133-136 ") if version == 6 else ("",)
        for unless in exempt:
            yield f'iifname "{inside}" {other} {unless}counter drop comment "{SPOOFED}"'
