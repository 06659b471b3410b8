"""EPT walks by the thousand: what `vafw.hw.memory.batch` has to know of EPT entries. Imports NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vafw.hw.memory.batch import FlatTables, TableFormat, Words
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import EptEntry
from vafw.hw.vmx.ept import LEVELS, EptCapability, well_formed_masks

_RWX = 7
_GOOD_TYPES = np.array([each in (0, 1, 4, 5, 6) for each in range(8)])


def flatten(memory: PhysicalMemory, eptp: int, capability: EptCapability) -> FlatTables:
    """The tables below an EPT pointer; wanted rights are `AccessKind` values."""
    legal = [True, True, False, True, capability.execute_only, True, False, True]
    good_rights = np.array([index > 0 and each for index, each in enumerate(legal)])

    def keep(entries: Words, level: int, as_leaves: bool) -> NDArray[np.bool_]:
        bad = np.uint64(well_formed_masks(level, leaf=as_leaves, capability=capability))
        fine: NDArray[np.bool_] = good_rights.take((entries & np.uint64(_RWX)).view(np.int64)) & (entries & bad == 0)
        if as_leaves:
            fine &= _GOOD_TYPES.take((entries >> np.uint64(EptEntry.MEMORY_TYPE.lsb) & np.uint64(7)).view(np.int64))
        return fine

    return FlatTables(memory, eptp & EptEntry.ADDRESS.mask, LEVELS, TableFormat(_RWX, keep))
