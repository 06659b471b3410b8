"""What every table walk starts from and ends in: memory to read tables from, and the check that ended a walk.

The walks themselves are pure and cache nothing: `root_table` and `context` find a requester's context, `second_level`
the page of an address. They read modelled memory (`PhysicalMemory`) and pages dumped from a real machine (`page_dump`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, final

from vafw.hw.vtd.fault_reason import FaultReason

READ: Final = 1
WRITE: Final = 2
"""Bits R and W of a paging entry; an access needs one of them, a leaf grants either or both."""


class TableMemory(Protocol):
    """Memory that tables stand in."""

    def read_ram(self, address: int, length: int) -> bytes | None:
        """`length` bytes, or None where that is not RAM."""
        ...

    def read_ram_u64(self, address: int) -> int | None:
        """Eight aligned bytes, little-endian, or None where that is not RAM."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Blocked:
    """A walk that a check ended."""

    reason: FaultReason
    quiet: bool = False
    """FPD of the context entry or IRTE: software does not want a record of it."""


def read_entry(memory: TableMemory, address: int) -> int | None:
    """An entry of 16 bytes, or None where that is not RAM."""
    raw = memory.read_ram(address, 16)
    return None if raw is None else int.from_bytes(raw, "little")
