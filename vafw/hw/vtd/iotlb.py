"""What the unit remembers of the tables: context cache and IOTLB (VT-d, "Caching Translation Information").

Entries are used until software invalidates them, however wrong the tables have made them: a stale translation is a real
one. Superpages are kept as the 4 KiB pages that were touched, which the specification allows; so a hit is one look-up,
and every context of a domain-id shares its pages.

Not-present and erroneous translations are not kept. With caching mode (CAP.CM) they are: as refusals, beside the rest,
so that the common path never meets them.
"""

from __future__ import annotations

from typing import final

from vafw.hw.vtd.walk import Blocked, Context, Leaf

Pages = dict[int, Leaf]
"""Page number to the leaf that the 4 KiB page belongs to, for one domain-id."""


@final
class TranslationCache:
    """Context cache and IOTLB."""

    def __init__(self) -> None:
        self.contexts: dict[int, tuple[Context, Pages]] = {}
        """By requester id: the context, and the IOTLB's pages of its domain-id."""
        self.refused_contexts: dict[int, Blocked] = {}
        """Caching mode only: by requester id."""
        self.refused_pages: dict[tuple[int, int, int], Blocked] = {}
        """Caching mode only: by domain-id, page number and the right that was asked for."""
        self._domains: dict[int, Pages] = {}

    def remember_context(self, source_id: int, context: Context) -> tuple[Context, Pages]:
        """Keep a context; returns it with the pages of its domain-id."""
        entry = self.contexts[source_id] = (context, self._domains.setdefault(context.domain, {}))
        return entry

    def forget_contexts(self) -> None:
        """Global context-cache invalidation."""
        self.contexts.clear()
        self.refused_contexts.clear()

    def forget_contexts_of_domain(self, domain: int) -> None:
        """Domain-selective; a refused context may belong to any domain, and in caching mode counts as domain 0."""
        for source_id in [each for each, entry in self.contexts.items() if entry[0].domain == domain]:
            del self.contexts[source_id]
        if domain == 0:
            self.refused_contexts.clear()

    def forget_contexts_of_device(self, source_id: int, function_mask: int) -> None:
        """Device-selective; FM 1, 2 and 3 leave one, two or all three bits of the function number uncompared."""
        compared = 0xFFFF & ~(0, 4, 6, 7)[function_mask]
        for known in (self.contexts, self.refused_contexts):
            for each in [each for each in known if (each ^ source_id) & compared == 0]:
                del known[each]

    def forget_pages(self) -> None:
        """Global IOTLB invalidation."""
        for pages in self._domains.values():
            pages.clear()
        self.refused_pages.clear()

    def forget_pages_of_domain(self, domain: int) -> None:
        """Domain-selective IOTLB invalidation."""
        self._domains.get(domain, {}).clear()
        for key in [each for each in self.refused_pages if each[0] == domain]:
            del self.refused_pages[key]

    def forget_page_range(self, domain: int, page: int, address_mask: int) -> None:
        """Page-selective within a domain: the 2^`address_mask` aligned pages that `page` lies in."""
        first = page >> address_mask << address_mask
        covered = range(first, first + (1 << address_mask))
        pages = self._domains.get(domain, {})
        for number in covered if len(covered) < len(pages) else [each for each in pages if each in covered]:
            pages.pop(number, None)
        for key in [each for each in self.refused_pages if each[0] == domain and each[1] in covered]:
            del self.refused_pages[key]
