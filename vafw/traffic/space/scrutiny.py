"""Rules that do no work, found exactly: each rule against the packets that reach it and those that follow it.

For every rule two questions decide. Does anything *reach* it: what it speaks of, less what rules before it surely
take? And would what reaches it meet the same fate *without* it? Only rules that can have packets in common are put to
each other (`overlap`), and sets are made of those alone, of boxes or as diagrams (`spoken`), so that ten thousand rules
that hardly overlap cost hardly more than looking at each. One set for all rules before each was the design before: it
grows with the product of what they name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any, TypeAlias

from vafw.traffic.rule import TCP, UDP, Ruleset
from vafw.traffic.space.overlap import ONLY_NEW, Sieve
from vafw.traffic.space.space import EVERY_RULE, Space, new_space
from vafw.traffic.space.spoken import BoxSets, DiagramSets, RuleSets, TooManyPieces


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
        self._ruleset = ruleset
        self._rules = ruleset.rules
        self._sieve = Sieve(ruleset.rules)
        self._before = self._sieve.meeting()
        """For each rule those before it that it may have packets in common with."""
        self._boxes = BoxSets(ruleset, self._sieve.exact)
        self._diagrams = DiagramSets(ruleset, lambda: space or new_space(rules=self._involved))

    def sorted_findings(self) -> tuple[Finding, ...]:
        """Every finding, in the list's order."""
        return tuple(sorted(self.findings(), key=lambda each: each.at))

    def findings(self) -> Iterator[Finding]:
        """Every finding; a rule that does another's work is not itself called redundant."""
        idle = {at: finding for at in range(len(self._rules)) if (finding := self._idle(at)) is not None}
        yield from idle.values()
        after: dict[int, list[int]] = {}
        for late in sorted(self._before.keys() - idle.keys()):
            for early in self._before[late]:
                after.setdefault(early, []).append(late)
        working: set[int] = set()
        for at in range(len(self._rules)):
            if at in idle or at in working:
                continue
            if (finding := self._redundant(at, after.get(at, ()))) is not None:
                working.update(finding.by)
                yield finding

    @property
    def _involved(self) -> int:
        """How many rules may have packets in common with another."""
        return len(self._before.keys() | set(chain.from_iterable(self._before.values())))

    def _asked(self, question: Question, at: int, others: Sequence[int]) -> Finding | None:
        """The answer to a question about a rule and others, from boxes if they have it."""
        if self._boxes.know((at, *others)):
            try:
                return question(self._ruleset, self._boxes, at, others)
            except TooManyPieces:
                pass
        return question(self._ruleset, self._diagrams, at, others)

    def _idle(self, at: int) -> Finding | None:
        """The finding of a rule that decides on nothing."""
        before = self._before.get(at, ())
        if not before and (at in self._sieve.exact or self._plainly_speaks(at)):
            return None
        return self._asked(_idle, at, before)

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

    def _redundant(self, at: int, after: Sequence[int]) -> Finding | None:
        """The finding of a rule without which the same would happen."""
        rule = self._rules[at]
        alone = not after and rule.states == ONLY_NEW
        if alone and rule.action is not self._ruleset.default:
            return None
        if rule.log or rule.is_conditional or not rule.action.is_final:
            return None
        if alone:
            return Finding(at, Fault.REDUNDANT)
        return self._asked(_redundant, at, (*self._before.get(at, ()), *after))


Question: TypeAlias = Callable[[Ruleset, RuleSets[Any], int, Sequence[int]], Finding | None]
"""Asks about a rule and others that may meet it, in order."""


def _idle(ruleset: Ruleset, sets: RuleSets[Any], at: int, before: Sequence[int]) -> Finding | None:
    left = wanted = sets.speaks_of(at)
    if sets.is_empty(wanted):
        return Finding(at, Fault.MATCHES_NOTHING)
    for count, other in enumerate(before, start=1):
        left = sets.without(left, sets.takes(other))
        if sets.is_empty(left):
            return _covered(ruleset, sets, at, before[:count])
    return None


def _covered(ruleset: Ruleset, sets: RuleSets[Any], at: int, before: Sequence[int]) -> Finding:
    """Which rules leave nothing to the rule."""
    wanted, rule = sets.speaks_of(at), ruleset.rules[at]
    for other in before:
        if sets.is_empty(sets.without(wanted, sets.takes(other))):
            opposed = rule.action.is_final and rule.action is not ruleset.rules[other].action
            same = sets.takes(other) == wanted
            return Finding(at, Fault.CONTRADICTED if opposed and same else Fault.SHADOWED, (other,))
    return Finding(at, Fault.UNREACHABLE, _few(sets, before, wanted))


def _few(sets: RuleSets[Any], before: Sequence[int], wanted: Any) -> tuple[int, ...]:
    """Rules that leave nothing of `wanted` together, and would leave something without any one of them."""
    needed: list[int] = []
    left = wanted
    for other in before:
        if sets.meet(left, sets.takes(other)):
            needed.append(other)
            left = sets.without(left, sets.takes(other))
    for other in tuple(needed):
        rest = [each for each in needed if each != other]
        if sets.is_empty(_beyond(sets, wanted, rest)):
            needed = rest
    return tuple(needed)


def _beyond(sets: RuleSets[Any], packets: Any, rules: Iterable[int]) -> Any:
    """What of the packets none of the rules takes."""
    for other in rules:
        packets = sets.without(packets, sets.takes(other))
    return packets


def _redundant(ruleset: Ruleset, sets: RuleSets[Any], at: int, others: Sequence[int]) -> Finding | None:
    rule = ruleset.rules[at]
    left = _beyond(sets, sets.speaks_of(at), (each for each in others if each < at))
    doing: list[int] = []
    for other in others:
        if other < at or not sets.meet(left, sets.speaks_of(other)):
            continue
        theirs = ruleset.rules[other]
        if theirs.log or theirs.action is not rule.action:
            return None
        doing.append(other)
        left = sets.without(left, sets.takes(other))
    done = sets.is_empty(sets.without(left, sets.left_over(rule.action)))
    return Finding(at, Fault.REDUNDANT, tuple(doing)) if done else None
