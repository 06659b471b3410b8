"""Decision diagrams of dd, CUDD's where its wheel has them: the second opinion that tests and benchmarks ask.

Not among vafw's dependencies; importing this module without dd fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vafw.traffic.space.diagram import Diagram

try:
    from dd import cudd as library
except ImportError:  # the wheel of this platform was built without CUDD
    from dd import autoref as library


class DdDiagrams:
    """See `Diagrams`."""

    def __init__(self, variables: int) -> None:
        self._store: Any = library.BDD()
        self._store.configure(reordering=False)
        names = [f"x{number}" for number in range(variables)]
        self._store.declare(*names)
        self.ones: list[Diagram] = [self._store.var(name) for name in names]
        self.zeros: list[Diagram] = [self._store.apply("not", each) for each in self.ones]
        self.nothing: Diagram = self._store.false
        self.everything: Diagram = self._store.true

    def top(self, diagram: Any) -> int | None:
        """The first variable that the set depends on; None for nothing and everything."""
        return None if diagram in (self._store.true, self._store.false) else int(diagram.level)

    def halves(self, diagram: Any) -> tuple[Diagram, Diagram]:
        """The set where its first variable is 0, and where it is 1."""
        _, zero, one = self._store.succ(diagram)
        return (~zero, ~one) if diagram.negated else (zero, one)

    def forget(self, diagram: Any, variables: Iterable[int]) -> Diagram:
        """The set with these variables free."""
        freed: Diagram = self._store.exist([f"x{each}" for each in variables], diagram)
        return freed

    def size(self, diagram: Any) -> int:
        """How many nodes it has."""
        return len(diagram)
