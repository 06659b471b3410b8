"""One rule as nftables statements: per side where it matters, per family, per protocol, per kind of address.

A statement is one line of a chain, without indentation. The order of its parts is that of `Conditions.hold`: the limit
stands last before the counter, so that it counts only what the rule would decide on. All statements of a rule share
its named counter and its named limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from typing import Final, Literal, TypeAlias

from vafw.traffic.address_set import MAX_V4, MAX_V6, AddressSet, Ranges
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.condition import DAY_S, DAYS, Schedule
from vafw.traffic.first_match import addresses_on, service_ranges
from vafw.traffic.packet import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, UNTAGGED, suits
from vafw.traffic.rule import Action, Rule, Selector, State

Family: TypeAlias = Literal["inet", "bridge"]
EVERYTHING: Final[dict[int, Ranges]] = {4: ((0, MAX_V4),), 6: ((0, MAX_V6),)}
HEADER: Final = {4: "ip", 6: "ip6"}
SELECTOR: Final = {TCP: "tcp dport", UDP: "udp dport", ICMP: "icmp type", ICMPV6: "icmpv6 type"}
WEEKDAYS: Final = dict(
    zip(DAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
)


def counter_name(rule: str) -> str:
    """The named counter of a rule."""
    return f"rule-{rule}"


def limit_name(rule: str) -> str:
    """The named limit of a rule."""
    return f"limit-{rule}"


def statements(
    rule: Rule, interfaces: Mapping[str, str], family: Family, sets: Mapping[str, str], state: State = State.NEW
) -> Iterator[str]:
    """The rule for packets of one state; `interfaces` of each side and `sets` as `rules.Rules` has them."""
    for each in conditions(rule, interfaces, family, sets, state):
        yield from _ended(rule, each)


def conditions(
    rule: Rule, interfaces: Mapping[str, str], family: Family, sets: Mapping[str, str], state: State = State.NEW
) -> Iterator[str]:
    """What a packet must be for the rule to match, each way on its own; nothing where none can be."""
    about = "" if state is State.NEW else f"ct state {state} "
    for version in (4, 6):
        by_side = {side: tuple(_addresses(rule, side, version, family, sets)) for side in (INSIDE, OUTSIDE)}
        if by_side[INSIDE] == by_side[OUTSIDE]:
            matches = list(by_side[INSIDE])
        else:
            matches = [f"iifname {interfaces[side]} {each}" for side, found in by_side.items() for each in found]
        parts = product(matches, _vlans(rule.vlans), services(rule, version), _when(rule.schedule))
        for match, vlan, service, when in parts:
            yield f"{about}{vlan}{match}{service}{when}"


def _ended(rule: Rule, condition: str) -> Iterator[str]:
    """Condition, limit, counter, log line and verdict."""
    middle = f'counter name "{counter_name(rule.name)}"'
    if rule.limit is not None:
        middle = f'limit name "{limit_name(rule.name)}" {middle}'
    if rule.log or rule.action is Action.LOG:
        middle += f' log prefix "vafw {rule.name}: "'
    if rule.mark is not None:
        middle += f" ct mark set {rule.mark:#x} meta mark set {rule.mark:#x}"
    for line in verdicts(rule.action, condition, middle):
        yield f'{line} comment "{rule.name}"'


def any_packet(version: int, family: Family) -> str:
    """What every packet of an IP version matches: on a bridge, the family of the hook says nothing of it."""
    return f"meta nfproto ipv{version}" if family == "inet" else f"meta protocol {HEADER[version]}"


def _addresses(rule: Rule, side: str, version: int, family: Family, sets: Mapping[str, str]) -> Iterator[str]:
    """The parts of statements that speak of addresses; none where no packet of this side and family can match."""
    sources = tuple(_alternatives(rule.sources, side, version, sets))
    destinations = tuple(_alternatives(rule.destinations, opposite(side), version, sets))
    for source, destination in product(sources, destinations):
        parts = [f"{HEADER[version]} {key} {each}" for key, each in (("saddr", source), ("daddr", destination)) if each]
        yield " ".join(parts or [any_packet(version, family)]) + " "


def _alternatives(selectors: Iterable[Selector], side: str, version: int, sets: Mapping[str, str]) -> Iterator[str]:
    """Literal addresses as one set, then the set of each host name; an empty text stands for every address."""
    here = tuple(each for each in selectors if each.side in (None, side))
    literal = addresses_on(tuple(each for each in here if not each.names), side).ranges(version)
    if literal:
        yield "" if literal == EVERYTHING[version] else address_set(literal, version)
        if literal == EVERYTHING[version]:
            return
    for name in dict.fromkeys(name for each in here for name in each.names):
        yield f"@{sets[name]}-v{version}"


def _vlans(vlans: Ranges) -> Iterator[str]:
    if not vlans:
        yield ""
        return
    tagged = tuple((max(low, 1), high) for low, high in vlans if high > UNTAGGED)
    if tagged:
        yield f"vlan id {numbers(tagged)} "
    if vlans[0][0] == UNTAGGED:
        yield "ether type != { vlan, 8021ad } "


def _when(schedule: Schedule | None) -> Iterator[str]:
    """Day and time of day in UTC; a window over midnight is two, of which never more than one is open."""
    for each in schedule.within_days() if schedule is not None else ():
        days = ", ".join(f'"{WEEKDAYS[day]}"' for day in each.days)
        text = "" if each.days == DAYS else f"meta day {{ {days} }} "
        if (each.start_s, each.end_s) != (0, DAY_S):
            text += f'meta hour "{_hour(each.start_s)}"-"{_hour(each.end_s - 1)}" '
        yield text
    if schedule is None:
        yield ""


def _hour(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def services(rule: Rule, version: int) -> Iterator[str]:
    """The parts of statements that speak of protocols, one each."""
    if not rule.services:
        yield ""
        return
    for protocol in sorted({each.protocol for each in rule.services if suits(each.protocol, version)}):
        ranges = service_ranges(rule.services, protocol)
        if protocol in SELECTOR and ranges != ((0, 0xFFFF),):
            yield f"{SELECTOR[protocol]} {numbers(ranges)} "
        else:
            yield f"meta l4proto {protocol_name(protocol)} "


def protocol_name(protocol: int) -> str:
    """A protocol as nftables calls it by itself: `ipv6-icmp` it would have to look up in /etc/protocols."""
    return {ICMPV6: "icmpv6"}.get(protocol, PROTOCOL_NAMES.get(protocol, str(protocol)))


def verdicts(action: Action, condition: str, middle: str) -> Iterator[str]:
    """Condition, what happens on the way, and verdict; a rejection answers TCP in TCP's own way."""
    if not action.is_final:
        yield f"{condition}{middle}"
        return
    if action is not Action.REJECT:
        yield f"{condition}{middle} {action.value}"
        return
    named = [name for name in ("tcp dport", "meta l4proto tcp") if name in condition]
    others = [name for name in ("udp dport", "icmp type", "icmpv6 type", "meta l4proto") if name in condition]
    if named or not others:
        yield f"{condition}{'' if named else 'meta l4proto tcp '}{middle} reject with tcp reset"
    if not named:
        yield f"{condition}{middle} reject with icmpx admin-prohibited"


def numbers(ranges: Ranges) -> str:
    """Ports, types or ids as one value or an anonymous set."""
    texts = [f"{low}" if low == high else f"{low}-{high}" for low, high in ranges]
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


def address_set(ranges: Ranges, version: int) -> str:
    """Addresses as one value or an anonymous set."""
    texts = list(address_texts(ranges, version))
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


def address_texts(ranges: Ranges, version: int) -> Iterator[str]:
    """Each range as one address or first and last."""
    address = IPv4Address if version == 4 else IPv6Address
    return (str(address(low)) if low == high else f"{address(low)}-{address(high)}" for low, high in ranges)


def set_stems(rules: Iterable[Rule]) -> Mapping[str, str]:
    """The stem of the two sets of each host name, in the order in which the rules speak of them."""
    names: dict[str, None] = {}
    for rule in rules:  # loops: every rule of a long list is asked
        for selectors in (rule.sources, rule.destinations):
            for each in selectors:
                if each.names:
                    names |= dict.fromkeys(each.names)
    return {name: f"name-{number}" for number, name in enumerate(names)}


def bound_of(rules: Iterable[Rule], pattern: str) -> AddressSet:
    """The addresses that a host name may come to stand for."""
    found = AddressSet.nothing()
    for rule in rules:
        for each in (*rule.sources, *rule.destinations):
            found = found.union(each.addresses) if pattern in each.names else found
    return found
