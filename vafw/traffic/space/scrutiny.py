"""Rules that do no work, found exactly: each rule against the packets that reach it and those that follow it.

For every rule two questions decide. Does anything *reach* it: what it speaks of, less what rules before it surely
take? And would what reaches it meet the same fate *without* it? Only rules that can have packets in common are put to
each other (`overlap`), and sets are made of those alone, so that ten thousand rules that hardly overlap cost hardly
more than looking at each. One set for all rules before each was the design before: it grows with the product of what
they name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from vafw.traffic.reason import State
from vafw.traffic.rule import TCP, UDP, Ruleset
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.outcome import left_over
from vafw.traffic.space.overlap import Sieve
from vafw.traffic.space.space import EVERY_RULE, Space, new_space

_ONLY_NEW: Final = (State.NEW,)


class Fault(Enum):
    """What is wrong with a rule."""

    MATCHES_NOTHING = "no packet is like this"
    CONTRADICTED = "a rule before it speaks of exactly its packets and does something else with them"
    SHADOWED = "one rule before it decides on all of its packets"
    UNREACHABLE = "several rules before it decide on all of its packets together"
    REDUNDANT = "without it the same would happen to every packet"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does no work."""

    at: int
    """Index of the rule."""
    fault: Fault
    by: tuple[int, ...] = ()
    """Indexes of the rules that leave it nothing, or do its work; where it is redundant by none, the default does."""


def scrutinise(ruleset: Ruleset, space: Space | None = None) -> tuple[Finding, ...]:
    """Every rule that does no work, in the list's order; at most one finding a rule."""
    try:
        return _Scrutiny(ruleset, space).sorted_findings()
    except MemoryError:
        if space is not None:
            raise
    return _Scrutiny(ruleset, new_space(rules=EVERY_RULE)).sorted_findings()


class _Scrutiny:
    def __init__(self, ruleset: Ruleset, space: Space | None) -> None:
        self._given = space
        self._ruleset = ruleset
        self._rules = ruleset.rules
        self._sieve = Sieve(ruleset.rules)
        self._involved = len(self._rules)
        """Rules that may have packets in common with another."""
        self._spoken: dict[int, Diagram] = {}
        self._taken: dict[int, Diagram] = {}

    def sorted_findings(self) -> tuple[Finding, ...]:
        """Every finding, in the list's order."""
        return tuple(sorted(self.findings(), key=lambda each: each.at))

    def findings(self) -> Iterator[Finding]:
        """Every finding; a rule that does another's work is not itself called redundant."""
        before = self._sieve.meeting()
        self._involved = len({at for late, each in enumerate(before) if each for at in (late, *each)})
        idle = {finding.at: finding for at in range(len(self._rules)) if (finding := self._idle(at, before[at]))}
        yield from idle.values()
        after: list[list[int]] = [[] for _ in self._rules]
        for late, each in enumerate(before):
            for early in each:
                if late not in idle:
                    after[early].append(late)
        working: set[int] = set()
        for at in range(len(self._rules)):
            if at in idle or at in working:
                continue
            if (finding := self._redundant(at, before[at], after[at])) is not None:
                working.update(finding.by)
                yield finding

    @cached_property
    def _space(self) -> Space:
        return self._given or new_space(rules=self._involved)

    @cached_property
    def _considered(self) -> Diagram:
        return self._space.packets & ~self._space.spoofed(self._ruleset)

    def _speaks_of(self, at: int) -> Diagram:
        """Packets that the rule speaks of."""
        if at not in self._spoken:
            self._spoken[at] = self._space.rule(self._rules[at]) & self._considered
        return self._spoken[at]

    def _takes(self, at: int) -> Diagram:
        """Packets that surely get no further than the rule."""
        if at not in self._taken:
            rule = self._rules[at]
            if not rule.action.is_final:
                self._taken[at] = self._space.nothing
            elif rule.is_conditional:
                self._taken[at] = self._space.surely(rule) & self._considered
            else:
                self._taken[at] = self._speaks_of(at)
        return self._taken[at]

    def _idle(self, at: int, before: Sequence[int]) -> Finding | None:
        """The finding of a rule that decides on nothing."""
        if not before and self._plainly_speaks(at):
            return None
        left = self._speaks_of(at)
        if self._space.is_empty(left):
            return Finding(at, Fault.MATCHES_NOTHING)
        for other in before:
            left = left & ~self._takes(other)
            if self._space.is_empty(left):
                return self._covered(at, [each for each in before if each <= other])
        return None

    def _plainly_speaks(self, at: int) -> bool:
        """Whether it is clear without a set that the rule speaks of some packet."""
        rule = self._rules[at]
        if self._ruleset.inside is not None or not self._sieve.has_hull(at):
            return False
        for selectors in (rule.sources, rule.destinations):
            for each in selectors:
                if each.side is not None:
                    return False
        return not rule.services or rule.services[0].protocol in (TCP, UDP)

    def _covered(self, at: int, before: Sequence[int]) -> Finding:
        """Which rules leave nothing to the rule."""
        wanted, rule = self._speaks_of(at), self._rules[at]
        for other in before:
            if self._space.within(wanted, self._takes(other)):
                opposed = rule.action.is_final and rule.action is not self._rules[other].action
                same = self._takes(other) == wanted
                return Finding(at, Fault.CONTRADICTED if opposed and same else Fault.SHADOWED, (other,))
        return Finding(at, Fault.UNREACHABLE, self._few(before, wanted))

    def _few(self, before: Sequence[int], wanted: Diagram) -> tuple[int, ...]:
        """Rules that leave nothing of `wanted` together, and would leave something without any one of them."""
        needed: list[int] = []
        left = wanted
        for other in before:
            if not self._space.is_empty(left & self._takes(other)):
                needed.append(other)
                left = left & ~self._takes(other)
        for other in tuple(needed):
            rest = [each for each in needed if each != other]
            if self._space.within(wanted, self._space.union([self._takes(each) for each in rest])):
                needed = rest
        return tuple(needed)

    def _redundant(self, at: int, before: Sequence[int], after: Sequence[int]) -> Finding | None:
        """The finding of a rule without which the same would happen."""
        rule = self._rules[at]
        if rule.log or rule.is_conditional or not rule.action.is_final:
            return None
        if not after and rule.states == _ONLY_NEW:
            return Finding(at, Fault.REDUNDANT) if rule.action is self._ruleset.default else None
        left = self._speaks_of(at)
        for other in before:
            left = left & ~self._takes(other)
        doing: list[int] = []
        for other in after:
            theirs = self._rules[other]
            if self._space.is_empty(left & self._speaks_of(other)):
                continue
            if theirs.log or theirs.action is not rule.action:
                return None
            doing.append(other)
            left = left & ~self._takes(other)
        left_to_default = left_over(self._space, self._ruleset, rule.action)
        return Finding(at, Fault.REDUNDANT, tuple(doing)) if self._space.within(left, left_to_default) else None
