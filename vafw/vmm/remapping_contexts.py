"""The VMM's root table and context tables: which domain a requester id belongs to.

It changes memory only: what the unit remembers of an entry is the driver's to invalidate.
"""

from __future__ import annotations

from typing import final

from vafw.address import PAGE_SIZE, Bdf, Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import RootEntry
from vafw.hw.vtd.context import context_entry_address
from vafw.hw.vtd.root_table import root_entry_address
from vafw.vmm.frames import FrameAllocator


@final
class ContextTables:
    """A root table, and a context table for each bus that has a function."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator) -> None:
        self._memory = memory
        self._frames = frames
        self._tables: dict[int, Hpa] = {}
        self.root = self._new_table()

    def prepare(self, bdf: Bdf) -> None:
        """Give the bus a table where it has none; OutOfFrames before anything is written."""
        if bdf.bus not in self._tables:
            table = self._tables[bdf.bus] = self._new_table()
            root = RootEntry.pack(P=1, CTP=table >> 12)
            self._memory.write(Hpa(root_entry_address(self.root, bdf.bus)), root.to_bytes(16, "little"))

    def write(self, bdf: Bdf, entry: int) -> None:
        """Change the context entry of a prepared requester id; 0 takes it away."""
        address = context_entry_address(self._tables[bdf.bus], bdf.devfn)
        self._memory.write(Hpa(address), entry.to_bytes(16, "little"))

    def _new_table(self) -> Hpa:
        table = self._frames.allocate()
        self._memory.clear(table, PAGE_SIZE)
        return table
