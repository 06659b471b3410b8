"""One packet on its way along the path, hop by hop: what `vafw policy explain` tells.

It is walked by the plain definition of rules, not by the header space: the two are held against each other in a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vafw.document.load import DocumentSet
from vafw.document.source import Span
from vafw.plan.checks.place import span_at
from vafw.plan.hops import path_hops
from vafw.plan.roster import USER_OS, by_name, user_os
from vafw.plan.rules import own_addresses
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.packet_text import Asked
from vafw.traffic.proof import surely_matches
from vafw.traffic.reason import DEFAULT, ESTABLISHED, INVALID, RELATED, SPOOFED, State
from vafw.traffic.rule import Action, Packet, Rule, Ruleset
from vafw.traffic.space.path import Hop, inner_view, outer_view, translated

PERHAPS: Final = "perhaps: "
"""How what a rule says begins that decides at times only."""


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule that was asked, and what it said."""

    name: str
    place: Span
    said: str
    """Why it does not match, or what it does."""
    decides: bool
    """Whether no further rule is asked."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one hop does with the packet."""

    hop: str
    verdict: str
    """``pass``, ``accept``, ``drop`` or ``reject``."""
    rule: str
    """The rule that decides, a reason in parentheses, or empty where the hop has no rules."""
    place: Span | None
    considered: tuple[Considered, ...]
    leaves_as: Packet | None = None
    """The packet behind the hop, where it was translated."""
    leaves_by: str = ""
    """The network function that it leaves by, where there are several, as long as that uplink is up."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The whole way of a packet."""

    asked: Asked
    steps: tuple[Step, ...]
    """Hops from where the packet enters, up to the one that stops it."""

    @property
    def passes(self) -> bool:
        """Whether it gets to the other end."""
        return all(step.verdict in ("pass", "accept") for step in self.steps)

    @property
    def unless(self) -> tuple[Considered, ...]:
        """The rules with a condition that would decide before the one that does, where their condition holds."""
        return tuple(each for step in self.steps for each in step.considered if each.said.startswith(PERHAPS))

    @property
    def depends(self) -> bool:
        """Whether a rule with a condition had a say: at another time it might end otherwise."""
        return bool(self.unless)


def sided(documents: DocumentSet, asked: Asked) -> Asked:
    """The packet with the side it comes in by: the inside if the user OS has its source, where nothing is said."""
    if asked.side_given:
        return asked
    user = user_os(documents)
    own = own_addresses(user)
    packet = asked.packet
    from_user = own.contains(packet.version, packet.source) if user.addresses else True
    return replace(asked, packet=replace(packet, side=INSIDE if from_user else OUTSIDE))


def walk(documents: DocumentSet, asked: Asked) -> Walk:
    """The way of a packet from where it enters to where it ends; KeyError where a rule names what does not exist."""
    asked = sided(documents, asked)
    hops = path_hops(documents)
    inner = inner_view(hops, asked.packet)
    return Walk(asked, tuple(_steps(documents, hops, inner)))


def _steps(documents: DocumentSet, hops: Sequence[Hop], inner: Packet) -> Iterator[Step]:
    order = list(enumerate(hops))
    for at, hop in order if inner.side == OUTSIDE else reversed(order):
        seen = outer_view(hops[at + 1 :], inner)
        step = _step(documents, hop, seen)
        yield step
        if step.verdict not in ("pass", "accept"):
            return


def _step(documents: DocumentSet, hop: Hop, packet: Packet) -> Step:
    if hop.ruleset is None:
        return Step(hop.name, "pass", "", None, ())
    if _is_spoofed(hop.ruleset, packet):
        return Step(hop.name, "drop", SPOOFED, span_at(documents.topology, USER_OS, "addresses"), ())
    considered: list[Considered] = []
    for index, rule in enumerate(hop.ruleset.rules):
        each = _consider(documents, index, rule, packet)
        considered.append(each)
        if each.decides:
            beyond = _beyond(documents, hop, packet, considered, passes=rule.action is Action.ACCEPT)
            return Step(hop.name, rule.action, rule.name, each.place, tuple(considered), *beyond)
    reason, action = {
        State.ESTABLISHED: (ESTABLISHED, Action.ACCEPT),
        State.RELATED: (RELATED, Action.ACCEPT),
        State.INVALID: (INVALID, Action.DROP),
    }.get(packet.state, (DEFAULT, hop.ruleset.default))
    place = span_at(documents.policy, "traffic", "default") if reason == DEFAULT else None
    beyond = _beyond(documents, hop, packet, considered, passes=action is Action.ACCEPT)
    return Step(hop.name, action, reason, place, tuple(considered), *beyond)


def _beyond(
    documents: DocumentSet, hop: Hop, packet: Packet, considered: Sequence[Considered], *, passes: bool
) -> tuple[Packet | None, str]:
    """What the packet is behind the hop, where it may get there and is translated, and by which of several uplinks."""
    if not passes and not any(each.said.startswith(PERHAPS) for each in considered):
        return None, ""
    uplink, name = _uplink(documents, hop, packet, considered) if packet.side == INSIDE else (0, "")
    outer = translated(hop, packet, uplink)
    return None if outer == packet else outer if packet.side == INSIDE else packet, name


def _uplink(documents: DocumentSet, hop: Hop, packet: Packet, considered: Sequence[Considered]) -> tuple[int, str]:
    """The uplink that a connection with these marks takes while all are up, and its network function."""
    routing = by_name(documents)[hop.name].router
    if routing is None or not routing.uplinks:
        return 0, ""
    sides = (routing.outside, *(each.outside for each in routing.uplinks))
    names = (documents.topology.model.path[0], *(each.nic for each in routing.uplinks))
    destination = (IPv4Address if packet.version == 4 else IPv6Address)(packet.destination)
    on_link = [at for at, side in enumerate(sides) if any(destination in each.network for each in side)]
    rules = {rule.name: rule.mark for rule in documents.policy.model.traffic.rules}
    marks = [rules[each.name] for each in considered if each.said.startswith("matches: mark")]
    marked = [at for at, each in enumerate(routing.uplinks, start=1) if marks and marks[-1] in each.marks]
    leading = [at for at, side in enumerate(sides) if any(each.version == packet.version for each in side)]
    found = next(iter((*on_link, *marked, *leading)), 0)
    return found, names[found]


def _is_spoofed(ruleset: Ruleset, packet: Packet) -> bool:
    inside = ruleset.inside
    return packet.side == INSIDE and inside is not None and not inside.contains(packet.version, packet.source)


def _consider(documents: DocumentSet, index: int, rule: Rule, packet: Packet) -> Considered:
    place = span_at(documents.policy, "traffic", "rules", index, "name")
    missing = mismatch(documents, index, rule, packet)
    if missing is not None:
        return Considered(rule.name, place, missing, decides=False)
    if not rule.action.is_final:
        return Considered(rule.name, place, f"matches: {rule.action}, and goes on", decides=False)
    if surely_matches(rule, packet):
        return Considered(rule.name, place, f"matches: {rule.action}", decides=True)
    return Considered(rule.name, place, f"{PERHAPS}{rule.action} {_condition(rule)}", decides=False)


def _condition(rule: Rule) -> str:
    if rule.limit is not None:
        return f"while there are no more than {rule.limit}"
    if rule.schedule is not None:
        return f"on {rule.schedule}"
    return "if a DNS answer gave this address for its name"


def mismatch(documents: DocumentSet, index: int, rule: Rule, packet: Packet) -> str | None:
    """The first thing about the packet that the rule does not speak of; None where it matches."""
    if rule.matches(packet):
        return None
    written = documents.policy.model.traffic.rules[index]
    if packet.state not in rule.states:
        return f"no: it is about {' or '.join(rule.states)} packets"
    sides = (
        (rule.sources, packet.side, packet.source, "from", written.from_),
        (rule.destinations, opposite(packet.side), packet.destination, "to", written.to),
    )
    for selectors, side, address, word, names in sides:
        if not any(s.side in (None, side) and s.addresses.contains(packet.version, address) for s in selectors):
            return f"no: it is about packets {word} {' or '.join(names)}, not {_address(packet.version, address)}"
    if rule.services and not any(each.matches(packet) for each in rule.services):
        return f"no: it is about {' or '.join(written.service)}"
    return "no: it is about another VLAN"


def _address(version: int, address: int) -> str:
    return str(IPv4Address(address) if version == 4 else IPv6Address(address))
