"""A guest's memory as the VMM reaches it on the guest's behalf: by guest-physical address, through the guest's own EPT.

Whatever address a guest hands over, in a hypercall or a descriptor, is looked up in that guest's tables with the right
that the access needs. So a guest can only ever name its own memory, and the VMM cannot be talked into reaching further.
Device windows are no memory: an address in one is refused.
"""

from __future__ import annotations

from typing import final

from vafw.address import PAGE_MASK, PAGE_SIZE, PAGE_SIZE_2M, Gpa, Hpa
from vafw.errors import VafwError
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.ept import AccessKind, EptCapability, Translation, walk
from vafw.vmm.ept_tables import RW

_MASK_2M = PAGE_SIZE_2M - 1


class GuestAddressError(VafwError):
    """A guest handed over an address that is not its memory."""


@final
class GuestMemory:
    """One guest's memory."""

    def __init__(self, memory: PhysicalMemory, eptp: int, capability: EptCapability) -> None:
        self._memory = memory
        self._eptp = eptp
        self._capability = capability
        self._writable: dict[int, int] = {}
        """``hpa - gpa`` by 2 MiB of guest-physical space, where one page covers it that may be read and written."""

    def read(self, gpa: int, length: int) -> bytes:
        """`length` bytes from `gpa`; GuestAddressError where one of them is not the guest's memory."""
        delta = self._writable.get(gpa >> 21)
        if delta is not None and (gpa & _MASK_2M) + length <= PAGE_SIZE_2M:
            return self._memory.read(Hpa(gpa + delta), length)
        parts = []
        for page, size in _pages(gpa, length):
            parts.append(self._memory.read(self._translate(page, AccessKind.READ), size))
        return b"".join(parts)

    def write(self, gpa: int, data: bytes) -> None:
        """Write at `gpa`; GuestAddressError, with nothing written, where one byte is not the guest's memory."""
        delta = self._writable.get(gpa >> 21)
        if delta is not None and (gpa & _MASK_2M) + len(data) <= PAGE_SIZE_2M:
            self._memory.write(Hpa(gpa + delta), data)
            return
        pages = [(page, size, self._translate(page, AccessKind.WRITE)) for page, size in _pages(gpa, len(data))]
        for page, size, hpa in pages:
            self._memory.write(hpa, data[page - gpa : page - gpa + size])

    def host_address(self, gpa: Gpa, *, write: bool) -> Hpa:
        """Where one address lies on the host; GuestAddressError where it is not the guest's memory."""
        return self._translate(gpa, AccessKind.WRITE if write else AccessKind.READ)

    def forget(self) -> None:
        """The tables have changed, or are about to go."""
        self._writable.clear()

    def _translate(self, gpa: int, kind: AccessKind) -> Hpa:
        found = walk(self._memory, self._eptp, Gpa(gpa), kind, self._capability)
        if not isinstance(found, Translation):
            raise GuestAddressError(f"an address that a guest hands over must be its own memory, not {gpa:#x}: {found}")
        if not self._memory.is_ram(found.hpa):
            raise GuestAddressError(f"an address that a guest hands over must be memory, not a device's: {gpa:#x}")
        if found.rights & RW == RW and found.page_bytes == PAGE_SIZE_2M:
            self._writable[gpa >> 21] = found.hpa - gpa
        return found.hpa


def _pages(gpa: int, length: int) -> list[tuple[int, int]]:
    stretches = []
    while length > 0:
        size = min(length, PAGE_SIZE - (gpa & PAGE_MASK))
        stretches.append((gpa, size))
        gpa, length = gpa + size, length - size
    return stretches
