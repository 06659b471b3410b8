"""The context cache: contexts the unit has read, used until software invalidates them (VT-d, "Context-Cache").

An entry holds the context beside what the IOTLB remembers of its domain, so that a request that hits both costs two
look-ups. Only contexts that passed every check are kept; in caching mode (CAP.CM) refusals are kept, too, beside the
rest and under domain-id 0, so that the common path never meets them.
"""

from __future__ import annotations

from typing import NamedTuple, final

from vafw.hw.vtd.context import Context
from vafw.hw.vtd.iotlb import DomainPages
from vafw.hw.vtd.table_walk import Blocked


class CachedContext(NamedTuple):
    """A context, and what a request of its function needs at once."""

    context: Context
    readable: dict[int, int]
    writable: dict[int, int]
    """Page number to the host address of the page, for each right; the IOTLB's own of the context's domain."""
    pages: DomainPages
    directories: dict[int, int]
    shortcut: int
    """Device addresses below this may be looked up by their directory; 0 where the careful walk must see every miss."""


@final
class ContextCache:
    """Contexts by requester id."""

    def __init__(self, *, caching_mode: bool) -> None:
        self._caching_mode = caching_mode
        self.entries: dict[int, CachedContext] = {}
        self.refused: dict[int, Blocked] = {}
        """Caching mode only."""

    def remember(self, source_id: int, context: Context, pages: DomainPages) -> CachedContext:
        """Keep a context, with the IOTLB's pages of its domain-id; what passes through has none."""
        pages = DomainPages() if context.pass_through else pages
        shortcut = 0 if context.pass_through or self._caching_mode else context.limit
        entry = CachedContext(context, pages.readable, pages.writable, pages, pages.directories, shortcut)
        self.entries[source_id] = entry
        return entry

    def forget_all(self) -> None:
        """Global invalidation."""
        self.entries.clear()
        self.refused.clear()

    def forget_domain(self, domain: int) -> None:
        """Domain-selective; a refused context may belong to any domain and counts as domain 0."""
        for source_id in [each for each, entry in self.entries.items() if entry.context.domain == domain]:
            del self.entries[source_id]
        if domain == 0:
            self.refused.clear()

    def forget_device(self, source_id: int, function_mask: int) -> None:
        """Device-selective; FM 1, 2 and 3 leave one, two or all three bits of the function number uncompared."""
        compared = 0xFFFF & ~(0, 4, 6, 7)[function_mask]
        for each in [each for each in self.entries if (each ^ source_id) & compared == 0]:
            del self.entries[each]
        for each in [each for each in self.refused if (each ^ source_id) & compared == 0]:
            del self.refused[each]
