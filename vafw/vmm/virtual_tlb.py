"""The virtual TLB: memory virtualization without EPT, by tables that the VMM makes out of the guest's.

The processor walks only the VMM's *active* tables. They begin empty and are filled one page at a time: an access that
they do not allow is a page fault, the fault is a VM exit, and `fill` walks the guest's own tables in software. What
those allow goes into the active tables; what they do not is the guest's own fault, to be injected. So the active tables
behave as a TLB does, which is what an operating system is written for: a page made present is found at the next fault,
and an entry taken away may be used until INVLPG or a CR3 load, which therefore exit too.

Not here: keeping the tables of several address spaces. A CR3 load empties all of it but the guest's global pages.

The hard part is the dirty flag: a page that the guest's tables allow to be written is mapped read-only until a write
has faulted, because only then may D be set in the guest's entry. (SDM volume 3, "Memory Virtualization": "The Virtual
TLB"; Neiger et al., Intel Technology Journal 10(3), 2006.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from vafw.address import PAGE_SIZE, Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import GuestPagingEntry, PageFaultCode
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.guest_memory import GuestAddressError, GuestMemory

_P, _RW, _US = GuestPagingEntry.P.mask, GuestPagingEntry.RW.mask, GuestPagingEntry.US.mask
_A, _D, _PS, _G = GuestPagingEntry.A.mask, GuestPagingEntry.D.mask, GuestPagingEntry.PS.mask, GuestPagingEntry.G.mask
_XD: Final = GuestPagingEntry.XD.mask
_ADDRESS: Final = GuestPagingEntry.ADDRESS.mask
_SHIFT: Final = (0, 12, 21, 30, 39)
_WHOLE: Final = _P | _RW | _US
"""Rights of the active tables above their leaves: a leaf alone decides."""


@dataclass(frozen=True, slots=True)
class GuestPageFault:
    """The guest's own tables do not allow the access: #PF with this error code is the guest's to see."""

    error_code: int


@final
class VirtualTlb:
    """The active page tables of one virtual processor."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator, guest: GuestMemory) -> None:
        """`guest` is where the guest's tables are read and its frames are found."""
        self._memory = memory
        self._frames = frames
        self._guest = guest
        self._tables: list[Hpa] = []
        self.root = self._new_table()
        """What GUEST_CR3 holds while the guest believes in its own."""
        self._global: set[int] = set()
        """Pages of the guest that are global."""
        self.filled = 0
        """Entries made so far."""

    def fill(self, guest_cr3: int, linear: int, error_code: int) -> GuestPageFault | None:
        """A page fault has exited: make the entry that the guest's tables allow, or say what the guest must see."""
        write, user = bool(error_code & PageFaultCode.W), bool(error_code & PageFaultCode.U)
        try:
            found = self._walk(guest_cr3, linear, write=write, user=user, fetch=bool(error_code & PageFaultCode.I))
            if isinstance(found, GuestPageFault):
                return found
            gpa, flags = found
            hpa = self._guest.host_address(Gpa(gpa & -PAGE_SIZE), write=write)
        except GuestAddressError:
            return GuestPageFault(error_code | PageFaultCode.P | PageFaultCode.RSVD)
        self._memory.write_u64(self._place(linear), hpa | _P | _A | flags)
        if flags & _G:
            self._global.add(linear >> 12)
        self.filled += 1
        return None

    def forget(self, linear: int) -> None:
        """INVLPG: the entry of one page goes."""
        place = self._find(linear)
        if place is not None:
            self._memory.write_u64(place, 0)
        self._global.discard(linear >> 12)

    def empty(self) -> None:
        """A CR3 load: everything goes but global pages."""
        kept = [(page, entry) for page in self._global if (entry := self._entry(page << 12))]
        for table in self._tables[1:]:
            self._memory.clear(table, PAGE_SIZE)
            self._frames.release(table)
        del self._tables[1:]
        self._memory.clear(self.root, PAGE_SIZE)
        for page, entry in kept:
            self._memory.write_u64(self._place(page << 12), entry)

    def release(self) -> None:
        """Give every frame back; the processor must not walk here any more."""
        for table in self._tables:
            self._memory.clear(table, PAGE_SIZE)
            self._frames.release(table)
        self._tables.clear()

    # -- the guest's tables -----------------------------------------------------------------------------------

    def _walk(self, cr3: int, linear: int, *, write: bool, user: bool, fetch: bool) -> tuple[int, int] | GuestPageFault:
        """The guest-physical address and the flags of an active entry; sets the guest's A and D."""
        code = (PageFaultCode.W if write else 0) | (PageFaultCode.U if user else 0) | (PageFaultCode.I if fetch else 0)
        table, rights, used = cr3 & _ADDRESS, _RW | _US, list[tuple[int, int]]()
        level = 4
        while True:
            place = table + (linear >> _SHIFT[level] & 0x1FF) * 8
            entry = int.from_bytes(self._guest.read(place, 8), "little")
            if not entry & _P:
                return GuestPageFault(int(code))
            rights = rights & entry | (rights | entry) & _XD
            used.append((place, entry))
            if level == 1 or (level < 4 and entry & _PS):
                break
            table, level = entry & _ADDRESS, level - 1
        if (user and not rights & _US) or (write and not rights & _RW) or (fetch and rights & _XD):
            return GuestPageFault(int(code | PageFaultCode.P))
        self._mark(used, dirty=write)
        dirty = write or entry & _D
        flags = rights & (_US | _XD) | (rights & _RW if dirty else 0) | (_D if dirty else 0) | entry & _G
        offset = (1 << _SHIFT[level]) - 1
        return entry & _ADDRESS & ~offset | linear & offset, flags

    def _mark(self, used: list[tuple[int, int]], *, dirty: bool) -> None:
        for number, (place, entry) in enumerate(used):
            marked = entry | _A | (_D if dirty and number == len(used) - 1 else 0)
            if marked != entry:
                self._guest.write(place, marked.to_bytes(8, "little"))

    # -- the active tables ------------------------------------------------------------------------------------

    def _entry(self, linear: int) -> int:
        place = self._find(linear)
        return 0 if place is None else self._memory.read_u64(place)

    def _find(self, linear: int) -> Hpa | None:
        """Where the active leaf of an address is, if its tables are there."""
        table = int(self.root)
        for level in (4, 3, 2):
            entry = self._memory.read_u64(Hpa(table + (linear >> _SHIFT[level] & 0x1FF) * 8))
            if not entry & _P:
                return None
            table = entry & _ADDRESS
        return Hpa(table + (linear >> 12 & 0x1FF) * 8)

    def _place(self, linear: int) -> Hpa:
        """The same, with the tables on the way made."""
        table = int(self.root)
        for level in (4, 3, 2):
            place = Hpa(table + (linear >> _SHIFT[level] & 0x1FF) * 8)
            entry = self._memory.read_u64(place)
            if not entry & _P:
                entry = self._new_table() | _WHOLE | _A
                self._memory.write_u64(place, entry)
            table = entry & _ADDRESS
        return Hpa(table + (linear >> 12 & 0x1FF) * 8)

    def _new_table(self) -> Hpa:
        table = self._frames.allocate()
        self._memory.clear(table, PAGE_SIZE)
        self._tables.append(table)
        return table
