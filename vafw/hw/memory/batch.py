"""Many walks at once: a radix tree of tables flattened into arrays, and looked up by NumPy.

For whoever has thousands of addresses (a dump's decoder, a benchmark, a proof that two address spaces share no frame).
A look, not an access: nothing is marked accessed, nothing is cached for the processor, and a refusal is only that; the
scalar walk of the tables' own module says why. The arrays are a snapshot: flatten again after tables have changed.

What an entry means is the caller's: `TableFormat.keep` says which entries a walk may go on through. Only the shape is
known here, and EPT, second-stage and IA-32e tables share it: 512 entries of 8 bytes a table, 9 bits of address a level,
large pages of 2 MiB and 1 GiB by bit 7.

The hard part is to need only three gathers for a walk. Levels 3 and up are resolved once for each GiB that has
anything; rights are ANDed on the way down while flattening; 1 GiB pages become 512 entries of 2 MiB; and whatever a
walk would refuse is row 0, which grants nothing. NumPy is a large import: only what needs this module imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from vafw.hw.memory.physical import PhysicalMemory

Words: TypeAlias = NDArray[np.uint64]
REFUSED: Final = 0xFFFF_FFFF_FFFF_FFFF
"""What `FlatTables.translate` gives for an address that the tables do not allow."""
_CHUNK: Final = 1 << 14
"""Addresses a round: what it needs stays in the processor's cache."""
_DENSE_GIB: Final = 1 << 18
"""GiB (48 bits) up to which levels 3 and up are one array; above, present ones are searched for."""
_LARGE: Final = 1 << 7
_ADDRESS: Final = np.uint64(0x000F_FFFF_FFFF_F000)


@dataclass(frozen=True, slots=True)
class TableFormat:
    """What the flattening has to know of a kind of tables."""

    rights: int
    """The bits that every level must grant."""
    keep: Callable[[Words, int, bool], NDArray[np.bool_]]
    """(entries, level, as leaves): which of them a walk may use, whatever it wants to do."""


@final
class FlatTables:
    """A snapshot of the tables below one root."""

    def __init__(self, memory: PhysicalMemory, root: int, levels: int, form: TableFormat) -> None:
        """`root` is the topmost table's address; `levels` is 3, 4 or 5."""
        self._memory = memory
        self._form = form
        self._rights = np.uint64(form.rights)
        self._leaf_rows: list[Words] = [np.zeros(512, np.uint64)]
        directories: dict[int, Words] = {}
        self._large = False
        self._collect(self._table(root), levels, 0, self._rights, directories)
        present = sorted(directories)
        self._present = np.array(present, np.int64)
        self._directories = np.concatenate([np.zeros(512, np.uint64), *(directories[each] for each in present)])
        self._leaves = np.concatenate(self._leaf_rows)
        self._leaf_rows.clear()
        self._dense = self._dense_rows(present)

    def translate(self, addresses: Words, wanted: int) -> Words:
        """Where each of them leads, or `REFUSED`; `wanted` are the rights that the access needs, all of them."""
        found = np.empty(len(addresses), np.uint64)
        for start in range(0, len(addresses), _CHUNK):
            found[start : start + _CHUNK] = self._some(addresses[start : start + _CHUNK], np.uint64(wanted))
        return found

    # -- looking up -------------------------------------------------------------------------------------------

    def _some(self, addresses: Words, wanted: np.uint64) -> Words:
        where = (addresses >> np.uint64(12)).view(np.int64)
        entries = self._directories.take(self._rows(where >> 18) | where >> 9 & 511)
        leaves = self._leaves.take((entries >> np.uint64(12)).view(np.int64) | where & 511, mode="clip")
        if self._large:
            inside = addresses & np.uint64(0x1F_F000)
            leaves = np.where(entries & np.uint64(_LARGE), entries | inside, leaves)
        found = leaves & _ADDRESS | addresses & np.uint64(0xFFF)
        found[leaves & wanted != wanted] = REFUSED
        return found

    def _rows(self, gib: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first entry of each GiB's directory; 0 is the one that grants nothing."""
        if self._dense is not None:
            dense: NDArray[np.int64] = self._dense.take(gib, mode="clip")
            return dense
        place = np.searchsorted(self._present, gib)
        there = self._present.take(place, mode="clip") == gib
        rows: NDArray[np.int64] = (place + 1) * there << 9
        return rows

    def _dense_rows(self, present: list[int]) -> NDArray[np.int64] | None:
        """By GiB number, with a last row for everything beyond; None where that would be too many."""
        if present and present[-1] >= _DENSE_GIB:
            return None
        dense = np.zeros((present[-1] if present else 0) + 2, np.int64)
        for row, gib in enumerate(present, 1):
            dense[gib] = row << 9
        return dense

    # -- flattening -------------------------------------------------------------------------------------------

    def _collect(self, entries: Words, level: int, first: int, rights: np.uint64, into: dict[int, Words]) -> None:
        """Every GiB below one table: its directory, with rights ANDed from above and leaf tables as row numbers."""
        shift = 3 + 9 * level
        if level == 2:
            into[first >> 30] = self._directory(entries, rights)
            return
        tables, leaves = self._kinds(entries, level)
        for index in np.flatnonzero(tables | leaves):
            entry, below = entries[index], first + (int(index) << shift)
            granted = rights & entry
            if leaves[index]:
                pages = (entry & _ADDRESS) + (np.arange(512, dtype=np.uint64) << np.uint64(21))
                into[below >> 30] = pages | granted | np.uint64(_LARGE)
                self._large = True
            else:
                self._collect(self._table(int(entry & _ADDRESS)), level - 1, below, granted, into)

    def _directory(self, entries: Words, rights: np.uint64) -> Words:
        """Level 2: 2 MiB leaves as frames, tables as the first entry of their leaves, each with its rights."""
        tables, leaves = self._kinds(entries, 2)
        packed = np.zeros(512, np.uint64)
        granted = entries & rights
        packed[leaves] = (entries & _ADDRESS | granted | np.uint64(_LARGE))[leaves]
        self._large |= bool(leaves.any())
        for index in np.flatnonzero(tables):
            packed[index] = np.uint64(len(self._leaf_rows) << 9 << 12)
            below = self._table(int(entries[index] & _ADDRESS))
            kept = self._form.keep(below, 1, True)
            self._leaf_rows.append(np.where(kept, below & _ADDRESS | below & granted[index], np.uint64(0)))
        return packed

    def _kinds(self, entries: Words, level: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which entries reference a usable table, and which map a large page."""
        large = entries & np.uint64(_LARGE) != 0
        if level > 3:
            large = np.zeros(512, np.bool_)
        return self._form.keep(entries, level, False) & ~large, self._form.keep(entries, level, True) & large

    def _table(self, address: int) -> Words:
        """A table's entries; one that is not memory grants nothing."""
        raw = self._memory.read_ram(address, 4096)
        return np.zeros(512, np.uint64) if raw is None else np.frombuffer(raw, np.uint64)
