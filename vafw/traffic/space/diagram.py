"""The little that header spaces need of a library of binary decision diagrams, so that two libraries can stand behind.

A diagram is a Boolean function of numbered variables; here it is a set of packets, and each variable one bit of a
packet. Diagrams of one `Diagrams` are canonical: equal sets are equal values, so that ``==`` is a proof.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self


class Diagram(Protocol):
    """A set; only sets of the same `Diagrams` may meet."""

    def __and__(self, other: Self, /) -> Self:
        """What lies in both."""
        ...

    def __or__(self, other: Self, /) -> Self:
        """What lies in either."""
        ...

    def __invert__(self) -> Self:
        """What does not lie in it."""
        ...


class Diagrams(Protocol):
    """Makes diagrams of a fixed number of variables, whose order is that of their numbers."""

    nothing: Diagram
    everything: Diagram
    ones: list[Diagram]
    """For each variable, where it is 1."""
    zeros: list[Diagram]
    """For each variable, where it is 0."""

    def top(self, diagram: Diagram) -> int | None:
        """The first variable that the set depends on; None for nothing and everything."""
        ...

    def halves(self, diagram: Diagram) -> tuple[Diagram, Diagram]:
        """The set where its first variable is 0, and where it is 1."""
        ...

    def forget(self, diagram: Diagram, variables: Iterable[int]) -> Diagram:
        """The set with these variables free: whatever some value of them would put into it."""
        ...

    def size(self, diagram: Diagram) -> int:
        """How many nodes it has."""
        ...
