"""Physical memory that the model did not make: pages dumped from a real machine, for the walkers to read.

What was not dumped is unknown, which is something else than not being RAM: a read of it raises `NotDumped` instead of
answering, so that a hole in a dump never passes for a fault of the machine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from vafw.address import PAGE_MASK, PAGE_SIZE
from vafw.errors import InvalidDocument, VafwError


@final
@dataclass(frozen=True, slots=True)
class DumpedPages:
    """Consecutive pages of one machine."""

    name: str
    """The file they came from."""
    address: int
    """Host-physical address of the first byte."""
    data: memoryview

    @property
    def end(self) -> int:
        """The first address behind them."""
        return self.address + len(self.data)


@final
class BadDump(InvalidDocument):
    """The pages given cannot be one machine's memory; the message names every problem, one a line."""


@final
class NotDumped(VafwError):
    """A walk needs memory that was not dumped."""

    def __init__(self, address: int, length: int) -> None:
        super().__init__(f"the {length} bytes at {address:#x} are not in the dump")
        self.address = address
        self.length = length


@final
class PageDump:
    """A `TableMemory` of dumped pages."""

    def __init__(self, pieces: Sequence[DumpedPages]) -> None:
        """BadDump where pieces are empty, cut through a page, or overlap."""
        self._pieces = sorted(pieces, key=lambda piece: piece.address)
        self._starts = [piece.address for piece in self._pieces]
        problems = [*_malformed(self._pieces), *_overlapping(self._pieces)]
        if problems:
            raise BadDump("\n".join(problems))

    def read_ram(self, address: int, length: int) -> bytes | None:
        """Bytes within one piece; NotDumped where they are not all there."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            piece = self._pieces[index]
            offset = address - piece.address
            if offset + length <= len(piece.data):
                return bytes(piece.data[offset : offset + length])
        raise NotDumped(address, length)

    def read_ram_u64(self, address: int) -> int | None:
        """Eight bytes, little-endian."""
        raw = self.read_ram(address & -8, 8)
        return None if raw is None else int.from_bytes(raw, "little")


def _malformed(pieces: Sequence[DumpedPages]) -> list[str]:
    found = []
    for piece in pieces:
        if not len(piece.data):
            found.append(f"{piece.name}: must hold at least one page, but is empty")
        elif len(piece.data) & PAGE_MASK:
            found.append(
                f"{piece.name}: must hold whole pages of {PAGE_SIZE} bytes, not {len(piece.data)} "
                f"({len(piece.data) & PAGE_MASK} more than whole)"
            )
        if piece.address < 0 or piece.address & PAGE_MASK:
            found.append(f"{piece.name}: must begin at a multiple of {PAGE_SIZE:#x}, not at {piece.address:#x}")
    return found


def _overlapping(pieces: Sequence[DumpedPages]) -> list[str]:
    return [
        f"{after.name}: must not overlap {before.name}, but both hold {after.address:#x} to "
        f"{min(before.end, after.end) - 1:#x}"
        for before, after in pairwise(pieces)
        if after.address < before.end
    ]
