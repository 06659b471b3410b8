"""Address Translation Services: devices that cache translations themselves (PCI Express, "ATS"; VT-d, "Device-TLBs").

A device asks for a translation, keeps it in its own TLB, and then sends requests that are translated already. That is a
grant of trust: such a request walks no table. So a unit takes translation requests and translated requests only from
functions whose context entry says so (TT = 01b); of any other they are faults (reason 0xD).

A translation request for a page without rights is no fault: the device learns that it has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, final

from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.hw.vtd.blocked_request import DmaFault


@final
@dataclass(frozen=True, slots=True)
class TranslationCompletion:
    """The answer to a translation request."""

    frame: Hpa
    """The first host address of the page."""
    size: int
    """Of the page, in bytes."""
    readable: bool
    writable: bool

    @property
    def is_empty(self) -> bool:
        """Whether the device has no right at all to the page; `frame` then means nothing."""
        return not (self.readable or self.writable)


class TranslationAgent(Protocol):
    """Whom a device asks: the remapping unit above it."""

    def translation_request(
        self, source: Bdf, iova: Iova, *, no_write: bool = False
    ) -> TranslationCompletion | DmaFault:
        """A translation request, for reading only where `no_write`."""
        ...


class InvalidationTarget(Protocol):
    """A device that may hold translations."""

    def invalidate(self, iova: Iova, size: int) -> bool:
        """Drop what is held of the range; False where the device does not answer in time."""
        ...


def invalidation_size(address: int, *, several: bool) -> int:
    """Bytes that an invalidation request covers: 4 KiB, or with S = 1 as many as the low one-bits of 63:12 say."""
    if not several:
        return PAGE_SIZE
    page = address >> 12
    trailing_ones = (~page & page + 1).bit_length() - 1
    return PAGE_SIZE << trailing_ones + 1


@final
class DeviceTlb:
    """The address translation cache of one function."""

    def __init__(self, source: Bdf, agent: TranslationAgent) -> None:
        self._source = source
        self._agent = agent
        self._pages: dict[int, TranslationCompletion] = {}
        """By page number."""

    def find(self, iova: Iova, *, write: bool) -> Hpa | DmaFault | None:
        """The host address to send a translated request to; None where the device has no right to it."""
        page = iova // PAGE_SIZE
        held = self._pages.get(page)
        if held is None or not (held.writable if write else held.readable):
            answer = self._agent.translation_request(self._source, iova, no_write=not write)
            if isinstance(answer, DmaFault):
                return answer
            if answer.is_empty:
                return None
            held = self._pages[page] = answer
        return Hpa(held.frame | iova & held.size - 1) if (held.writable if write else held.readable) else None

    def invalidate(self, iova: Iova, size: int) -> bool:
        """Drop what is held of the range."""
        first = iova & -size
        for page in list(self._covered(first // PAGE_SIZE, size // PAGE_SIZE)):
            del self._pages[page]
        return True

    def _covered(self, first: int, count: int) -> Iterator[int]:
        return (page for page in self._pages if first <= page < first + count)
