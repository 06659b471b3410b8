"""What each rule of a list speaks of and what it takes, as sets: of boxes where that is exact, else as diagrams.

`scrutiny` asks the same few questions of either. Boxes are for rules of one network, one network and one stretch of
ports: no library is entered for them, and a thousand such questions take a few milliseconds. They count packets of
both sides, new and of any VLAN; sources that the inside may not use are not taken out, which changes no answer: what is
true of the packets from the outside is true of those from the inside, as such rules speak of both alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Final, Protocol, TypeVar

from vafw.traffic.address_set import MAX_V6
from vafw.traffic.boxes import Box, cut, overlap
from vafw.traffic.rule import Action, Ruleset
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.outcome import left_over
from vafw.traffic.space.space import Space

Set = TypeVar("Set")

MOST_PIECES: Final = 64
"""Boxes of a set at most; beyond, a diagram is smaller."""
EVERYTHING: Final[Box] = (0, MAX_V6, 0, MAX_V6, 0, 1 << 24)
"""Every source, every destination, every protocol with every port."""


class TooManyPieces(Exception):
    """A set is no small number of boxes: the question is one for diagrams."""


class RuleSets(Protocol[Set]):
    """Sets of packets, rule by rule."""

    def speaks_of(self, at: int) -> Set:
        """Packets that the rule speaks of."""
        ...

    def takes(self, at: int) -> Set:
        """Packets that surely get no further than the rule."""
        ...

    def left_over(self, action: Action) -> Set:
        """Packets that meet the action where no rule decides."""
        ...

    def without(self, packets: Set, others: Set) -> Set:
        """The packets that are not among the others."""
        ...

    def is_empty(self, packets: Set) -> bool:
        """Whether no packet lies in it."""
        ...

    def meet(self, packets: Set, others: Set) -> bool:
        """Whether some of the packets are among the others."""
        ...


class DiagramSets:
    """Sets of any rules; the space is made when the first is asked for."""

    def __init__(self, ruleset: Ruleset, new_space: Callable[[], Space]) -> None:
        self._ruleset = ruleset
        self._new_space = new_space
        self._spoken: dict[int, Diagram] = {}
        self._taken: dict[int, Diagram] = {}

    @cached_property
    def _space(self) -> Space:
        return self._new_space()

    @cached_property
    def _considered(self) -> Diagram:
        return self._space.packets & ~self._space.spoofed(self._ruleset)

    def speaks_of(self, at: int) -> Diagram:
        """Packets that the rule speaks of."""
        if at not in self._spoken:
            self._spoken[at] = self._space.rule(self._ruleset.rules[at]) & self._considered
        return self._spoken[at]

    def takes(self, at: int) -> Diagram:
        """Packets that surely get no further than the rule."""
        if at not in self._taken:
            rule = self._ruleset.rules[at]
            if not rule.action.is_final:
                self._taken[at] = self._space.nothing
            elif rule.is_conditional:
                self._taken[at] = self._space.surely(rule) & self._considered
            else:
                self._taken[at] = self.speaks_of(at)
        return self._taken[at]

    def left_over(self, action: Action) -> Diagram:
        """Packets that meet the action where no rule decides."""
        return left_over(self._space, self._ruleset, action)

    def without(self, packets: Diagram, others: Diagram) -> Diagram:
        """The packets that are not among the others."""
        return packets & ~others

    def is_empty(self, packets: Diagram) -> bool:
        """Whether no packet lies in it."""
        return self._space.is_empty(packets)

    def meet(self, packets: Diagram, others: Diagram) -> bool:
        """Whether some of the packets are among the others."""
        return not self._space.is_empty(packets & others)


class BoxSets:
    """Sets of rules that are one box each and may meet, so that all are of one IP version; see `Sieve.exact`."""

    def __init__(self, ruleset: Ruleset, exact: Mapping[int, Box]) -> None:
        self._ruleset = ruleset
        self._exact = exact

    def know(self, rules: Iterable[int]) -> bool:
        """Whether each of the rules is one box."""
        return all(at in self._exact for at in rules)

    def speaks_of(self, at: int) -> list[Box]:
        """Packets that the rule speaks of."""
        return [self._exact[at]]

    def takes(self, at: int) -> list[Box]:
        """Packets that surely get no further than the rule."""
        rule = self._ruleset.rules[at]
        return [self._exact[at]] if rule.action.is_final and not rule.is_conditional else []

    def left_over(self, action: Action) -> list[Box]:
        """New packets that meet the action where no rule decides."""
        return [EVERYTHING] if self._ruleset.default is action else []

    def without(self, packets: list[Box], others: list[Box]) -> list[Box]:
        """The packets that are not among the others; TooManyPieces where these are no few boxes."""
        left = cut(packets, others, MOST_PIECES)
        if left is None:
            raise TooManyPieces
        return left

    def is_empty(self, packets: list[Box]) -> bool:
        """Whether no packet lies in it."""
        return not packets

    def meet(self, packets: list[Box], others: list[Box]) -> bool:
        """Whether some of the packets are among the others."""
        return any(overlap(one, other) for one in packets for other in others)
