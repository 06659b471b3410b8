"""The IOTLB: translations the unit has made, used until software invalidates them (VT-d, "IOTLB").

Entries are tagged with the domain-id, so every function of a domain shares them, and they are used however wrong the
tables have become: a stale translation is a real one. Superpages are kept as the 4 KiB pages that were touched, which
the specification allows; each right has its own look-up, so that a hit needs no further check.

Not-present and erroneous translations are not kept. In caching mode (CAP.CM) they are: as refusals, beside the rest.
"""

from __future__ import annotations

from typing import final

from vafw.hw.vtd.second_level import Leaf
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked


@final
class DomainPages:
    """What is remembered of one domain-id."""

    __slots__ = ("directories", "readable", "refused", "sizes", "writable")

    def __init__(self) -> None:
        self.readable: dict[int, int] = {}
        self.writable: dict[int, int] = {}
        """Page number to the host address of that 4 KiB page."""
        self.sizes: dict[int, int] = {}
        """Bytes of the page that a table maps, where that is a superpage."""
        self.directories: dict[int, int] = {}
        """Number of a 2 MiB region to its directory: the paging-structure cache, which is tagged and emptied alike."""
        self.refused: dict[tuple[int, int], Blocked] = {}
        """Caching mode only: by page number and right."""

    def remember(self, iova: int, leaf: Leaf) -> int:
        """Keep a translation; returns the host address of `iova`."""
        page = iova >> 12
        host = leaf.frame | iova & leaf.size - 1 & ~0xFFF
        if leaf.rights & READ:
            self.readable[page] = host
        if leaf.rights & WRITE:
            self.writable[page] = host
        if leaf.size != 1 << 12:
            self.sizes[page] = leaf.size
        return host | iova & 0xFFF

    def knows(self, page: int) -> bool:
        """Whether any right to the page is remembered."""
        return page in self.readable or page in self.writable

    def forget_all(self) -> None:
        """Everything of this domain-id."""
        for each in (self.readable, self.writable, self.sizes, self.directories):
            each.clear()
        self.refused.clear()

    def forget_range(self, page: int, address_mask: int, *, leaves_only: bool) -> None:
        """The 2^`address_mask` aligned pages that `page` lies in; `leaves_only` keeps the directories (IH)."""
        first = page >> address_mask << address_mask
        covered = range(first, first + (1 << address_mask))
        for known in (self.readable, self.writable, self.sizes):
            for number in covered if len(covered) < len(known) else [each for each in known if each in covered]:
                known.pop(number, None)
        for key in [each for each in self.refused if each[0] in covered]:
            del self.refused[key]
        if not leaves_only:
            for region in range(covered.start >> 9, (covered.stop - 1 >> 9) + 1):
                self.directories.pop(region, None)


@final
class Iotlb:
    """Every domain's pages. A domain's object stays when it is emptied: contexts hold on to it."""

    def __init__(self) -> None:
        self._domains: dict[int, DomainPages] = {}

    def of_domain(self, domain: int) -> DomainPages:
        """What is remembered of a domain-id."""
        found = self._domains.get(domain)
        if found is None:
            found = self._domains[domain] = DomainPages()
        return found

    def forget_all(self) -> None:
        """Global invalidation."""
        for pages in self._domains.values():
            pages.forget_all()

    def forget_domain(self, domain: int) -> None:
        """Domain-selective invalidation."""
        if domain in self._domains:
            self._domains[domain].forget_all()

    def forget_range(self, domain: int, page: int, address_mask: int, *, leaves_only: bool) -> None:
        """Page-selective invalidation within a domain."""
        if domain in self._domains:
            self._domains[domain].forget_range(page, address_mask, leaves_only=leaves_only)
