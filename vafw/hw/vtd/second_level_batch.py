"""Second-level walks by the thousand: what `vafw.hw.memory.batch` has to know of VT-d's entries. Imports NumPy.

For whoever asks about many addresses at once: a dump's decoder, a proof that two domains share no frame. It is a look
at the tables as they are now, past every cache of the unit; a refusal is only that, and `second_level` says why.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from vafw.hw.memory.batch import REFUSED, FlatTables, TableFormat, Words
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vtd.bits import INTERRUPT_FIRST, INTERRUPT_LAST, PagingEntry
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.context import Context
from vafw.hw.vtd.second_level import page_size

_RIGHTS = PagingEntry.R.mask | PagingEntry.W.mask


@final
class SecondLevelBatch:
    """A snapshot of the tables below one context."""

    def __init__(self, memory: PhysicalMemory, rules: TableRules, context: Context) -> None:
        """Flatten the tables; what passes through has none."""
        self._limit = np.uint64(context.limit)
        self._tables: FlatTables | None = None
        if not context.pass_through:
            form = TableFormat(_RIGHTS, _Usable(rules))
            self._tables = FlatTables(memory, context.table, context.levels, form)

    def translate(self, addresses: Words, right: int) -> Words:
        """Where each device address leads for READ or WRITE, or `REFUSED`."""
        if self._tables is None:
            return addresses
        found = self._tables.translate(addresses, right)
        beyond = addresses >= self._limit
        if beyond.any():
            found[beyond] = REFUSED
        return found


@final
class _Usable:
    """Which entries a walk may use, whatever it wants to do."""

    def __init__(self, rules: TableRules) -> None:
        self._rules = rules

    def __call__(self, entries: Words, level: int, as_leaves: bool) -> NDArray[np.bool_]:
        if as_leaves and level > 1 and level not in self._rules.large_page_levels:
            return np.zeros(len(entries), np.bool_)
        reserved = self._rules.leaf_reserved(level) if as_leaves else self._rules.table_reserved(level)
        usable: NDArray[np.bool_] = (entries & np.uint64(_RIGHTS) != 0) & (entries & np.uint64(reserved) == 0)
        if as_leaves:
            frames = entries & np.uint64(PagingEntry.ADDR.mask)
            first = np.uint64(max(INTERRUPT_FIRST - page_size(level) + 1, 0))
            usable &= ~((frames >= first) & (frames <= np.uint64(INTERRUPT_LAST)))
        return usable
