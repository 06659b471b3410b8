"""Proves what a ruleset does to every packet of a pattern, or shows one packet for which it does something else.

Exact, from the header space and not by sampling: the packets that may pass, or surely do, are one set
(`space.outcome`), the pattern is another, and the proof is that they do not meet. Two earlier designs broke: a
representative of every combination of boundaries (a hundred rules have millions), and splitting regions rule by rule
(five thousand overlapping rules took minutes).

Packets that no rule is ever asked about are in no pattern: neighbour discovery, and new ICMP that opens no connection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from vafw.traffic.appliance import INSIDE
from vafw.traffic.reason import DEFAULT, ESTABLISHED, INVALID, RELATED, SPOOFED, State
from vafw.traffic.rule import Action, Packet, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.outcome import Outcome, passing
from vafw.traffic.space.space import Space, new_space, unnamed
from vafw.traffic.space.witness import witness


@dataclass(frozen=True, slots=True)
class Pattern:
    """A set of packets."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    services: tuple[ServiceMatch, ...] = ()
    """Empty: every service."""
    state: State = State.NEW
    """What they are to the connection tracker."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A packet of the pattern, and what the ruleset does to it."""

    packet: Packet
    rule: str
    """The rule that decides, or a reason in parentheses."""
    action: Action

    def __str__(self) -> str:
        return f"{self.packet}: {self.action.value} by {self.rule}"


class Proof:
    """A ruleset that questions are asked of; what it lets pass is worked out once."""

    def __init__(self, ruleset: Ruleset, space: Space | None = None) -> None:
        self.ruleset = ruleset
        self.space = space or new_space(rules=len(ruleset.rules))

    @cached_property
    def passing(self) -> Outcome:
        """What may pass, and what surely does."""
        return passing(self.space, self.ruleset)

    def packets(self, pattern: Pattern) -> Diagram:
        """The packets of a pattern."""
        wanted = self.space.between(pattern.sources, pattern.destinations)
        return wanted & self.space.services(pattern.services) & self.space.states([pattern.state]) & self.space.packets

    def counterexample(self, pattern: Pattern, *, passes: bool = True) -> Counterexample | None:
        """A packet of the pattern that may pass, which refutes ``never``; None proves that there is none.

        With ``passes=False``, one that may not pass, which refutes ``always``.
        """
        meant = self.packets(pattern)
        packet = witness(self.space, meant & (self.passing.may if passes else ~self.passing.surely))
        return None if packet is None else Counterexample(packet, *decide(self.ruleset, packet, passes=passes))


def counterexample(ruleset: Ruleset, pattern: Pattern, *, passes: bool = True) -> Counterexample | None:
    """See `Proof.counterexample`."""
    return Proof(ruleset).counterexample(pattern, passes=passes)


def decide(ruleset: Ruleset, packet: Packet, *, passes: bool) -> tuple[str, Action]:
    """What decides on the packet, each condition taken so that it passes (or not) wherever it can."""
    if packet.side == INSIDE and ruleset.inside and not ruleset.inside.contains(packet.version, packet.source):
        return SPOOFED, Action.DROP
    for rule in ruleset.rules:
        helps = (rule.action is Action.ACCEPT) == passes
        if rule.action.is_final and rule.matches(packet) and (helps or _surely_matches(rule, packet)):
            return rule.name, rule.action
    return {
        State.ESTABLISHED: (ESTABLISHED, Action.ACCEPT),
        State.RELATED: (RELATED, Action.ACCEPT),
        State.INVALID: (INVALID, Action.DROP),
    }.get(packet.state, (DEFAULT, ruleset.default))


def _surely_matches(rule: Rule, packet: Packet) -> bool:
    """Whether the rule decides on the packet, whatever time it is and whatever names stand for."""
    if not rule.is_conditional:
        return True
    named = any(each.names for each in (*rule.sources, *rule.destinations))
    if not named or rule.limit is not None or rule.schedule is not None:
        return False
    plain = replace(rule, sources=unnamed(rule.sources), destinations=unnamed(rule.destinations))
    return plain.matches(packet)
