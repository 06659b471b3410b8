"""Proves what a path does to every packet of a pattern, or shows one packet for which it does something else.

Exact, from the header space and not by sampling: the packets that may pass every hop, or surely do, are one set
(`space.path`), the pattern is another, and the proof is that they do not meet. Two earlier designs broke: a
representative of every combination of boundaries (a hundred rules have millions), and splitting regions rule by rule
(five thousand overlapping rules took minutes).

A question about few packets needs few rules: those whose hulls (`space.overlap`) do not meet the pattern's are left
out, as long as the whole has not been worked out already.

Packets that no rule is ever asked about are in no pattern: neighbour discovery, and new ICMP that opens no connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nat import Nat
from vafw.traffic.reason import DEFAULT, ESTABLISHED, INVALID, RELATED, SPOOFED, State
from vafw.traffic.rule import Action, Packet, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.outcome import Outcome
from vafw.traffic.space.overlap import Sieve
from vafw.traffic.space.path import Hop, outer_view, path_passing
from vafw.traffic.space.space import EVERY_RULE, Space, new_space, unnamed
from vafw.traffic.space.witness import witness

MANY: Final = 300
"""Rules from which on it pays to leave some out."""
FEW: Final = 8
"""What part of the rules a question may need at most to be asked of these alone."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A set of packets."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    services: tuple[ServiceMatch, ...] = ()
    """Empty: every service."""
    states: tuple[State, ...] = (State.NEW,)
    """What they are to the connection tracker."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A packet of the pattern, and what becomes of it."""

    packet: Packet
    """As the user's side sees it."""
    rule: str
    """The rule that decides, or a reason in parentheses."""
    action: Action
    hop: str = ""
    """The appliance whose rules decide; empty where none has any."""

    def __str__(self) -> str:
        return f"{self.packet}: {self.action.value} by {self.rule}"


class Proof:
    """A path that questions are asked of; what it lets pass is worked out once."""

    def __init__(self, hops: Sequence[Hop], space: Space | None = None) -> None:
        """`hops` from the wire inwards."""
        self.hops = tuple(hops)
        self._may_grow = space is None
        self._space = space
        self._passing: Outcome | None = None
        self._rules = [each.ruleset.rules if each.ruleset is not None else () for each in self.hops]

    @property
    def space(self) -> Space:
        """Where the sets are made."""
        if self._space is None:
            self._space = new_space(rules=sum(map(len, self._rules)))
        return self._space

    @property
    def passing(self) -> Outcome:
        """What may pass, and what surely does."""
        if self._passing is None:
            try:
                self._passing = path_passing(self.space, self.hops)
            except MemoryError:
                if not self._may_grow:
                    raise
                self._space = new_space(rules=EVERY_RULE)
                self._passing = path_passing(self.space, self.hops)
        return self._passing

    def packets(self, pattern: Pattern) -> Diagram:
        """The packets of a pattern."""
        wanted = self.space.between(pattern.sources, pattern.destinations)
        return wanted & self.space.services(pattern.services) & self.space.states(pattern.states) & self.space.packets

    def counterexample(self, pattern: Pattern, *, passes: bool = True) -> Counterexample | None:
        """A packet of the pattern that may pass, which refutes ``never``; None proves that there is none.

        With ``passes=False``, one that may not pass, which refutes ``always``.
        """
        part = self._about(pattern)
        wrong = part.passing.may if passes else ~part.passing.surely  # before the pattern: it may need a larger space
        packet = witness(part.space, wrong & part.packets(pattern))
        return None if packet is None else self.decided(packet, passes=passes)

    def _about(self, pattern: Pattern) -> Proof:
        """The path with no rules but those that may speak of packets of the pattern, where these are few."""
        count = sum(map(len, self._rules))
        translates = any(each.outer and each.nat != Nat() for each in self.hops)
        if self._passing is not None or not self._may_grow or translates or count < MANY:
            return self
        near = [sieve.touching(pattern.sources, pattern.destinations, pattern.services) for sieve in self._sieves]
        if sum(map(len, near)) * FEW > count:
            return self
        return Proof([_with_some(hop, some) for hop, some in zip(self.hops, near, strict=True)])

    @cached_property
    def _sieves(self) -> list[Sieve]:
        return [Sieve(rules) for rules in self._rules]

    def difference(self, other: Proof, pattern: Pattern) -> tuple[Counterexample, Counterexample] | None:
        """A packet of the pattern that this path and the other may treat differently, and what each does to it."""
        mine, theirs = self.passing, path_passing(self.space, other.hops)
        more = (mine.may & ~theirs.may) | (mine.surely & ~theirs.surely)
        less = (theirs.may & ~mine.may) | (theirs.surely & ~mine.surely)
        for differing, passes in ((more, True), (less, False)):
            packet = witness(self.space, self.packets(pattern) & differing)
            if packet is not None:
                return self.decided(packet, passes=passes), other.decided(packet, passes=not passes)
        return None

    def decided(self, packet: Packet, *, passes: bool) -> Counterexample:
        """What becomes of one packet, each condition taken so that it passes (or not) wherever it can."""
        found = Counterexample(packet, "", Action.ACCEPT)
        for at, hop in self._in_order(packet):
            if hop.ruleset is None:
                continue
            seen = outer_view(self.hops[at + 1 :], packet)
            found = Counterexample(packet, *decide(hop.ruleset, seen, passes=passes), hop.name)
            if found.action is not Action.ACCEPT:
                break
        return found

    def _in_order(self, packet: Packet) -> Iterator[tuple[int, Hop]]:
        hops = tuple(enumerate(self.hops))
        return iter(hops if packet.side == OUTSIDE else reversed(hops))


def _with_some(hop: Hop, rules: Iterable[int]) -> Hop:
    """The hop with the rules at these indexes alone."""
    if hop.ruleset is None:
        return hop
    return replace(hop, ruleset=replace(hop.ruleset, rules=tuple(hop.ruleset.rules[at] for at in rules)))


def counterexample(ruleset: Ruleset, pattern: Pattern, *, passes: bool = True) -> Counterexample | None:
    """See `Proof.counterexample`, for one firewall."""
    return Proof([Hop("", ruleset)]).counterexample(pattern, passes=passes)


def decide(ruleset: Ruleset, packet: Packet, *, passes: bool) -> tuple[str, Action]:
    """What decides on the packet, each condition taken so that it passes (or not) wherever it can."""
    if packet.side == INSIDE and ruleset.inside and not ruleset.inside.contains(packet.version, packet.source):
        return SPOOFED, Action.DROP
    for rule in ruleset.rules:
        helps = (rule.action is Action.ACCEPT) == passes
        if rule.action.is_final and rule.matches(packet) and (helps or surely_matches(rule, packet)):
            return rule.name, rule.action
    return {
        State.ESTABLISHED: (ESTABLISHED, Action.ACCEPT),
        State.RELATED: (RELATED, Action.ACCEPT),
        State.INVALID: (INVALID, Action.DROP),
    }.get(packet.state, (DEFAULT, ruleset.default))


def surely_matches(rule: Rule, packet: Packet) -> bool:
    """Whether the rule decides on the packet, whatever time it is and whatever names stand for."""
    if not rule.is_conditional:
        return True
    named = any(each.names for each in (*rule.sources, *rule.destinations))
    if not named or rule.limit is not None or rule.schedule is not None:
        return False
    plain = replace(rule, sources=unnamed(rule.sources), destinations=unnamed(rule.destinations))
    return plain.matches(packet)
