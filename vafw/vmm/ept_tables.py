"""A VM's extended page tables, as the VMM writes them into host memory: which guest-physical page is which frame.

The writer's side of `vafw.hw.vmx.ept`. Nothing here decides who may have a frame; that is `Vmm`, in one place. Removing
or changing a mapping does not reach the processors: the caller executes INVEPT afterwards, before frames change hands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from vafw.address import PAGE_MASK, PAGE_SIZE, PAGE_SIZE_2M, Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import EptEntry, Eptp, MemoryType
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.refusal import VmmError

RW: Final = EptEntry.R.mask | EptEntry.W.mask
RWX: Final = RW | EptEntry.X.mask
_PS: Final = EptEntry.PS.mask
_ADDRESS: Final = EptEntry.ADDRESS.mask
_SHIFT: Final = (0, 12, 21, 30, 39)


@final
class EptTables:
    """Four levels of tables in frames of their own."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator) -> None:
        """Tables that map nothing."""
        self._memory = memory
        self._frames = frames
        self._tables: list[Hpa] = []
        self._root = self._new_table()

    @property
    def eptp(self) -> int:
        """The EPT pointer: write-back, four levels, accessed and dirty flags on."""
        return self._root | Eptp.pack(MEMORY_TYPE=MemoryType.WB, WALK_LENGTH=3, ACCESSED_DIRTY=1)

    def map(self, gpa: Gpa, hpa: Hpa, size: int, rights: int = RWX, memory_type: MemoryType = MemoryType.WB) -> None:
        """Map `size` bytes, in 2 MiB pages where both addresses are aligned; VmmError over an existing mapping."""
        if (gpa | hpa | size) & PAGE_MASK or size <= 0:
            raise VmmError(f"an EPT mapping must be whole 4 KiB pages, not {gpa:#x} to {hpa:#x}+{size:#x}")
        leaf = rights | EptEntry.MEMORY_TYPE.put(memory_type)
        done = 0
        while done < size:
            large = not (gpa + done | hpa + done) % PAGE_SIZE_2M and size - done >= PAGE_SIZE_2M
            place = self._place(gpa + done, 2 if large else 1)
            if self._memory.read_u64(place):
                raise VmmError(f"GPA {gpa + done:#x} must not be mapped twice")
            self._memory.write_u64(place, hpa + done | leaf | (_PS if large else 0))
            done += PAGE_SIZE_2M if large else PAGE_SIZE

    def unmap(self, gpa: Gpa, size: int) -> None:
        """Remove the mappings of exactly these bytes; VmmError where a large page sticks out of them."""
        for place, page, page_bytes in tuple(self._leaves(gpa, size)):
            if page < gpa or page + page_bytes > gpa + size:
                raise VmmError(f"the {page_bytes:#x} byte page at GPA {page:#x} must be unmapped as a whole")
            self._memory.write_u64(place, 0)

    def release(self) -> None:
        """Give the tables' frames back; the EPT pointer must not be used any more, and INVEPT been executed."""
        for table in self._tables:
            self._memory.clear(table, PAGE_SIZE)
            self._frames.release(table)
        self._tables.clear()

    def _leaves(self, gpa: int, size: int) -> Iterator[tuple[Hpa, int, int]]:
        """The leaf entries that map these bytes: where the entry is, its page's first address and size."""
        address = gpa
        while address < gpa + size:
            table, step = int(self._root), PAGE_SIZE
            for level in (4, 3, 2, 1):
                step = 1 << _SHIFT[level]
                place = Hpa(table + (address >> _SHIFT[level] & 0x1FF) * 8)
                entry = self._memory.read_u64(place)
                if not entry & RWX:
                    break
                if level == 1 or (level < 4 and entry & _PS):
                    yield place, address & -step, step
                    break
                table = entry & _ADDRESS
            address = (address & -step) + step

    def _place(self, gpa: int, last: int) -> Hpa:
        """Where the entry of `gpa` at level `last` is; tables on the way are made."""
        table = int(self._root)
        for level in range(4, last, -1):
            place = Hpa(table + (gpa >> _SHIFT[level] & 0x1FF) * 8)
            entry = self._memory.read_u64(place)
            if entry & _PS and level < 4:
                raise VmmError(f"GPA {gpa:#x} must not be mapped twice")
            if not entry:
                entry = self._new_table() | RWX
                self._memory.write_u64(place, entry)
            table = entry & _ADDRESS
        return Hpa(table + (gpa >> _SHIFT[last] & 0x1FF) * 8)

    def _new_table(self) -> Hpa:
        table = self._frames.allocate()
        self._memory.clear(table, PAGE_SIZE)
        self._tables.append(table)
        return table
