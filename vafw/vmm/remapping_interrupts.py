"""The VMM's interrupt remapping table: one entry for each function that may raise an interrupt."""

from __future__ import annotations

from typing import Final, final

from vafw.address import PAGE_SIZE, Bdf, Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import DescriptorType, InterruptEntryCacheDescriptor, Irte, MsiAddress, SourceValidation
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.second_stage import MappingRefused

ENTRIES: Final = PAGE_SIZE // 16


@final
class InterruptEntries:
    """A page of entries. It changes memory only: what the unit remembers of an entry is the driver's to invalidate."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator) -> None:
        self._memory = memory
        self.table = frames.allocate()
        memory.clear(self.table, PAGE_SIZE)
        self._index_of: dict[Bdf, int] = {}

    def put(self, bdf: Bdf, vector: int, destination: int) -> int:
        """Let a function raise one vector on one processor, and nobody else use its entry; returns the index."""
        if not (0x10 <= vector <= 0xFE and 0 <= destination <= 0xFE):
            raise MappingRefused(
                f"an interrupt must be vector 16-254 on processor 0-254, not {vector} on {destination}"
            )
        index = self._index_of.get(bdf)
        if index is None:
            index = next((each for each in range(ENTRIES) if each not in self._index_of.values()), None)
        if index is None:
            raise MappingRefused(f"at most {ENTRIES} functions must have an interrupt at a time")
        entry = Irte.pack(
            P=1, VECTOR=vector, DST=destination << 8, SVT=SourceValidation.REQUESTER_ID, SID=bdf.requester_id
        )
        self._index_of[bdf] = index
        self._write(index, entry)
        return index

    def clear(self, bdf: Bdf) -> int | None:
        """Take a function's entry away; returns the index, which stays its own until `free`, or None without one."""
        index = self._index_of.get(bdf)
        if index is not None:
            self._write(index, 0)
        return index

    def free(self, bdf: Bdf) -> None:
        """Let the index be used again, once the unit has forgotten its entry."""
        self._index_of.pop(bdf, None)

    def _write(self, index: int, entry: int) -> None:
        self._memory.write(Hpa(self.table + index * 16), entry.to_bytes(16, "little"))


def message_for(index: int) -> tuple[int, int]:
    """The MSI address and data that name an index."""
    return MsiAddress.pack(FEE=0xFEE, FORMAT=1, HANDLE=index), 0


def forget_interrupt(index: int) -> int:
    """The descriptor after which the unit reads an entry anew."""
    return InterruptEntryCacheDescriptor.pack(TYPE=DescriptorType.INTERRUPT_ENTRY_CACHE, G=1, IIDX=index)
