"""Decision diagrams of OxiDD, with complement edges: the library that vafw uses.

A store has room for a fixed number of nodes. What does not fit ends in a MemoryError and not in a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Final, cast

from oxidd.bcdd import BCDDFunction, BCDDManager

from vafw.traffic.space.diagram import Diagram

SMALL: Final = 1 << 20
MEDIUM: Final = 1 << 22
LARGE: Final = 1 << 25
"""Room in nodes; most of it is touched only as it fills (16 bytes a node)."""
MOST_REMEMBERED: Final = 1 << 21
"""Results of operations that are kept at most: more cost a long list more to set up than they save."""


class OxiddDiagrams:
    """See `Diagrams`."""

    def __init__(self, variables: int, *, room: int = SMALL) -> None:
        self._manager = BCDDManager(room, min(max(room >> 2, 1 << 12), MOST_REMEMBERED), 1)
        numbers = self._manager.add_vars(variables)
        self.ones: list[Diagram] = [self._manager.var(each) for each in numbers]
        self.zeros: list[Diagram] = [self._manager.not_var(each) for each in numbers]
        self.nothing: Diagram = self._manager.false()
        self.everything: Diagram = self._manager.true()

    def top(self, diagram: Diagram) -> int | None:
        """The first variable that the set depends on; None for nothing and everything."""
        return cast(BCDDFunction, diagram).node_var()

    def halves(self, diagram: Diagram) -> tuple[Diagram, Diagram]:
        """The set where its first variable is 0, and where it is 1."""
        found = cast(BCDDFunction, diagram).cofactors()
        assert found is not None, "nothing and everything have no first variable"
        one, zero = found
        return zero, one

    def forget(self, diagram: Diagram, variables: Iterable[int]) -> Diagram:
        """The set with these variables free."""
        free = reduce(lambda left, right: left & right, (self.ones[each] for each in variables), self.everything)
        return cast(BCDDFunction, diagram).exists(cast(BCDDFunction, free))

    def size(self, diagram: Diagram) -> int:
        """How many nodes it has."""
        return cast(BCDDFunction, diagram).node_count()
