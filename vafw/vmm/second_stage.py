"""Builds the second-stage tables of one DMA domain in memory: device addresses to host-physical ones.

Not the walker (`vafw.hw.vtd.second_level`) and not the flusher (`vafw.vmm.remapping`): a table changed here is obeyed
by the hardware only once its caches have been invalidated. A change is whole or not at all: what would replace a
mapping, tear a 2 MiB page, or map the interrupt range is refused before the first entry is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, final

from vafw.address import PAGE_MASK, PAGE_SIZE, PAGE_SIZE_2M, Hpa, Iova
from vafw.errors import VafwError
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import INTERRUPT_FIRST, INTERRUPT_LAST, PagingEntry
from vafw.vmm.frames import FrameAllocator, OutOfFrames

_PRESENT = PagingEntry.pack(R=1, W=1)
_ENTRIES = 512


class MappingRefused(VafwError):
    """A change of DMA mappings that the driver does not make."""


class _Slot(NamedTuple):
    """The entry of one leaf: where it stands and what it maps."""

    entry: Hpa
    level: int
    iova: int


@final
class SecondStageTable:
    """The tables below one context entry."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator, levels: int) -> None:
        """`levels` is 3, 4 or 5: 39, 48 or 57 bits of device address."""
        self._memory = memory
        self._frames = frames
        self._levels = levels
        self._owned: list[Hpa] = []
        self.root = self._new_table()

    def map(self, iova: Iova, hpa: Hpa, size: int, rights: int) -> None:
        """Map `size` bytes, in 2 MiB pages where both addresses allow; `rights` are bits R and W."""
        self._require_range(iova, hpa, size)
        if (taken := next(self._leaves(iova, size), None)) is not None:
            raise MappingRefused(f"device address {taken.iova:#x} must be unmapped before it is mapped again")
        done = 0
        try:
            while done < size:
                done += self._map_one(iova + done, hpa + done, size - done, rights)
        except OutOfFrames:
            self.unmap(iova, done)
            raise

    def unmap(self, iova: Iova, size: int) -> None:
        """Clear every mapping of the range, which must be mapped whole and must not cut a 2 MiB page."""
        slots = list(self._leaves(iova, size))
        covered = sum(_span(slot.level) for slot in slots)
        if any(slot.iova < iova or slot.iova + _span(slot.level) > iova + size for slot in slots):
            raise MappingRefused(f"unmapping {iova:#x}+{size:#x} must not cut a 2 MiB page in two")
        if covered != size:
            raise MappingRefused(f"{size:#x} bytes at {iova:#x} must be mapped to be unmapped, but {covered:#x} are")
        for slot in slots:
            self._memory.write_u64(slot.entry, 0)

    def release(self) -> None:
        """Give the tables' frames back; the caller has made sure that no cache and no context entry names them."""
        for table in self._owned:
            self._memory.clear(table, PAGE_SIZE)
            self._frames.release(table)
        self._owned.clear()

    def _require_range(self, iova: int, hpa: int, size: int) -> None:
        if size <= 0 or (iova | hpa | size) & PAGE_MASK:
            raise MappingRefused(f"a mapping must be whole 4 KiB pages, not {iova:#x} to {hpa:#x}+{size:#x}")
        if iova < 0 or iova + size > 1 << 12 + 9 * self._levels:
            raise MappingRefused(f"a device address must fit {12 + 9 * self._levels} bits, not {iova:#x}+{size:#x}")
        for address in (iova, hpa):
            if address <= INTERRUPT_LAST and address + size > INTERRUPT_FIRST:
                raise MappingRefused(f"{address:#x}+{size:#x} must not touch the interrupt range at 0xfee00000")

    def _map_one(self, iova: int, hpa: int, size: int, rights: int) -> int:
        """Write one leaf; returns how many bytes it maps."""
        level = 2 if not (iova | hpa) % PAGE_SIZE_2M and size >= PAGE_SIZE_2M else 1
        table = self.root
        for above in range(self._levels, level, -1):
            table = self._below(table, iova, above)
        entry = _entry(table, iova, level)
        if level == 2 and self._memory.read_u64(entry) & _PRESENT:
            level, entry = 1, _entry(self._below(table, iova, 2), iova, 1)
        large = PagingEntry.pack(PS=1) if level == 2 else 0
        self._memory.write_u64(entry, hpa | rights | large)
        return _span(level)

    def _below(self, table: Hpa, iova: int, level: int) -> Hpa:
        """The table that the entry of `iova` in a table of `level` points to, made if there is none."""
        entry = _entry(table, iova, level)
        value = self._memory.read_u64(entry)
        if value & _PRESENT:
            return Hpa(value & PagingEntry.ADDR.mask)
        below = self._new_table()
        self._memory.write_u64(entry, below | _PRESENT)
        return below

    def _leaves(self, iova: int, size: int) -> Iterator[_Slot]:
        """Every present leaf that touches the range, in order; holes are stepped over table by table."""
        address, end = iova, iova + size
        while address < end:
            table, level = self.root, self._levels
            while True:
                entry = _entry(table, address, level)
                value = self._memory.read_u64(entry)
                if not value & _PRESENT or level == 1 or value & PagingEntry.PS.mask:
                    break
                table, level = Hpa(value & PagingEntry.ADDR.mask), level - 1
            first = address & -_span(level)
            if value & _PRESENT:
                yield _Slot(entry, level, first)
            address = first + _span(level)

    def _new_table(self) -> Hpa:
        table = self._frames.allocate()
        self._memory.clear(table, PAGE_SIZE)
        self._owned.append(table)
        return table


def _span(level: int) -> int:
    """Bytes that one entry of a table of `level` covers."""
    return 1 << 3 + 9 * level


def _entry(table: Hpa, iova: int, level: int) -> Hpa:
    return Hpa(table + (iova >> 3 + 9 * level) % _ENTRIES * 8)
