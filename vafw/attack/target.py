"""What an attack is run against: PCs of one plan, with some mechanisms left out.

An attack on a running machine shares one PC with the others of its kind and leaves it as it found it; an attack on the
launch gets a PC of its own, which it may ruin.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import final

from vafw.attack.computer import Computer, Supplies
from vafw.attack.mechanism import Mechanism
from vafw.attack.running import Running


@final
class Target:
    """The PCs of one plan."""

    def __init__(self, supplies: Supplies, without: Iterable[Mechanism] = ()) -> None:
        """`without` are the mechanisms that are off."""
        self.supplies = supplies
        self.without = frozenset(without)

    def lacks(self, mechanism: Mechanism) -> bool:
        """Whether it is off."""
        return mechanism in self.without

    def computer(self) -> Computer:
        """A PC of the attack's own, switched off."""
        return Computer(self.supplies, self.without)

    @cached_property
    def running(self) -> Running:
        """The PC with every VM up that all attacks on a running machine share."""
        return Running(Computer(self.supplies, self.without), self.without)
