"""The chain by which a Linux router chooses between several ways to the wire: a packet mark, before it is routed.

    in a connection that has a way already ─▶ that way: it is known by the uplink's own address in the tuple
    new ─▶ the rules in order: one that marks chooses, one that would decide ends the choice

The mark is the number of the uplink, 2 for the second; without one the router's main table decides, which leads by the
first. Which table a mark stands for is for the router to say, and to change where an uplink goes down:

    ip rule add pref 100 lookup main suppress_prefixlength 0     a network of its own is reached by its own card
    ip rule add pref 200 fwmark 2 lookup 102                     while the second uplink is up

The hard part is the place: a router filters behind the choice of the way, and a rule's own mark is set there. So the
rules are asked twice for a new connection, here without counting. A limit would count twice; a rule with one must stand
behind those that mark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from vafw.traffic.appliance import INSIDE
from vafw.traffic.nftables.statement import HEADER, conditions
from vafw.traffic.rule import Rule

CHAIN = "uplinks"
HOOK = "type filter hook prerouting priority mangle"


@dataclass(frozen=True, slots=True)
class Further:
    """An uplink besides the first."""

    outer: Mapping[int, int]
    """The router's own address there, by IP version."""
    marks: Collection[int]
    """Marks of connections that leave by it."""


def uplink_mark(number: int) -> int:
    """The packet mark of an uplink, counted from 0."""
    return number + 1


def choice(
    rules: Sequence[Rule], further: Sequence[Further], interfaces: Mapping[str, str], sets: Mapping[str, str]
) -> Iterator[str]:
    """The chain's statements for rules about new packets; `interfaces` and `sets` as `rules.Rules` has them.

    ValueError where a limit stands before a mark.
    """
    yield f"iifname != {interfaces[INSIDE]} return"
    for number, each in enumerate(further, start=1):
        for version, own in each.outer.items():
            address = (IPv4Address if version == 4 else IPv6Address)(own)
            for direction in ("original", "reply"):
                match = f"ct {direction} {HEADER[version]} daddr {address}"
                yield f"{match} meta mark set {uplink_mark(number):#x} return"
    yield "ct state != new return"
    chosen = {mark: uplink_mark(number) for number, each in enumerate(further, start=1) for mark in each.marks}
    for rule in _up_to_the_last_mark(rules, chosen):
        verdict = "return" if rule.action.is_final else f"meta mark set {chosen.get(rule.mark or 0, 0):#x}"
        yield from (
            f'{matched}{verdict} comment "{rule.name}"' for matched in conditions(rule, interfaces, "inet", sets)
        )


def _up_to_the_last_mark(rules: Sequence[Rule], chosen: Mapping[int, int]) -> Iterator[Rule]:
    """The rules that decide or mark, as far as one of them may choose, or take a choice back: the last mark counts."""
    if not any(rule.mark in chosen for rule in rules):
        return
    last = max(at for at, rule in enumerate(rules) if rule.mark is not None)
    for rule in rules[: last + 1]:
        if not rule.action.is_final and rule.mark is None:
            continue
        if rule.limit is not None:
            raise ValueError(
                f"a rule with a limit must stand behind those that mark where a mark chooses an uplink, and "
                f"'{rule.name}' does not"
            )
        yield rule
