"""The TLB for linear addresses: mappings tagged by VPID, PCID and EP4TA, of one logical processor.

VPID 0 is the VMM's and, where VPIDs are not used, every guest's too: that is why each VM entry and VM exit without
VPIDs must forget what is tagged 0. An EP4TA is bits 51:12 of an EPT pointer; `NO_EPT` tags mappings that no EPT took
part in (the manual's linear mappings; the others are its combined mappings). Global pages are kept beside the PCIDs of
their VPID. (SDM volume 3, "Caching Translation Information", "VPID and PCID"; volume 3, "Invalidation of TLBs".)

Nothing here looks at memory, so an entry goes stale when its table changes and is used until software invalidates it.
The hard part is capacity: the oldest entry goes, whatever its tag, and entries that were invalidated must not count.
`_order` is that age; what it names may be gone already, and is then skipped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

NO_EPT: Final = -1
"""In place of an EP4TA."""
GLOBAL: Final = -1
"""In place of a PCID: pages with the G flag, which every PCID of the VPID sees."""
CAPACITY: Final = 1536
"""Entries of the second-level TLB of Intel's processors since Skylake."""

WRITABLE: Final = 1 << 0
"""R/W of all levels."""
USER: Final = 1 << 1
"""U/S of all levels."""
NO_EXECUTE: Final = 1 << 2
"""XD of any level."""
SHIFT_LSB: Final = 3
PROVEN_WRITE: Final = 1 << 9
"""A write has walked: EPT allows it and every dirty flag is set."""
PROVEN_FETCH: Final = 1 << 10
"""A fetch has walked: EPT allows it."""
IS_GLOBAL: Final = 1 << 11
"""Entries: bits 51:12 the host frame, 8:3 log2 of the page's size (12 or 21), and the flags above."""


@dataclass(frozen=True, slots=True)
class Tag:
    """Whose mappings."""

    vpid: int
    pcid: int
    ep4ta: int = NO_EPT


@final
class LinearMappings:
    """The entries of one tag, by page number."""

    __slots__ = ("large", "small")

    def __init__(self) -> None:
        self.small: dict[int, int] = {}
        """By linear address >> 12."""
        self.large: dict[int, int] = {}
        """By linear address >> 21."""

    def find(self, linear: int) -> int | None:
        """The entry that covers an address."""
        found = self.small.get(linear >> 12)
        return self.large.get(linear >> 21) if found is None else found

    def __len__(self) -> int:
        return len(self.small) + len(self.large)


@final
class Tlb:
    """All of them."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """`capacity` in entries, of whatever page size."""
        self._capacity = capacity
        self._tagged: dict[Tag, LinearMappings] = {}
        self._order: deque[tuple[dict[int, int], int]] = deque()
        self._live = 0

    def tagged(self, tag: Tag) -> LinearMappings:
        """The mappings of a tag; the same object for good."""
        known = self._tagged.get(tag)
        if known is None:
            known = self._tagged[tag] = LinearMappings()
        return known

    def insert(self, into: LinearMappings, linear: int, entry: int) -> None:
        """Remember an entry; where the TLB is full the oldest goes."""
        shift = entry >> SHIFT_LSB & 0x3F
        table = into.large if shift == 21 else into.small
        number = linear >> shift
        if number not in table:
            self._make_room()
            self._live += 1
            self._order.append((table, number))
        table[number] = entry

    def drop(self, linear: int, vpid: int, pcid: int | None = None) -> None:
        """INVLPG (one PCID, and global pages) or INVVPID type 0 (every PCID): forget what covers an address."""
        for tag, mappings in self._tagged.items():
            if tag.vpid == vpid and (pcid is None or tag.pcid in (pcid, GLOBAL)):
                for table, number in ((mappings.small, linear >> 12), (mappings.large, linear >> 21)):
                    if table.pop(number, None) is not None:
                        self._live -= 1

    def flush(self, vpid: int, pcid: int | None = None, *, keep_global: bool = False) -> None:
        """Forget a VPID, or one PCID of it; `keep_global` spares its global pages, and so does a PCID."""
        self._clear(
            mappings
            for tag, mappings in self._tagged.items()
            if tag.vpid == vpid and (pcid is None or tag.pcid == pcid) and not (keep_global and tag.pcid == GLOBAL)
        )

    def flush_guests(self) -> None:
        """INVVPID type 2: every VPID but the VMM's."""
        self._clear(mappings for tag, mappings in self._tagged.items() if tag.vpid)

    def flush_ept(self, ep4ta: int | None = None) -> None:
        """INVEPT: combined mappings of one EP4TA, or of all."""
        self._clear(
            mappings
            for tag, mappings in self._tagged.items()
            if tag.ep4ta != NO_EPT and (ep4ta is None or tag.ep4ta == ep4ta)
        )

    def clear(self) -> None:
        """Forget everything."""
        self._clear(self._tagged.values())

    def __len__(self) -> int:
        return self._live

    def _clear(self, chosen: Iterable[LinearMappings]) -> None:
        for each in chosen:
            self._live -= len(each)
            each.small.clear()
            each.large.clear()
        if not self._live:
            self._order.clear()

    def _make_room(self) -> None:
        while self._live >= self._capacity:
            table, number = self._order.popleft()
            if table.pop(number, None) is not None:
                self._live -= 1
        if len(self._order) > 4 * self._capacity:
            self._order = deque((table, number) for table, number in self._order if number in table)
