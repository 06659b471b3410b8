"""The memory of the compared guests as a boot loader leaves it: tables, an IDT, a stack, the pages of each process.

    guest-physical                         linear
    0          kernel, IDT, stack          the same, supervisor, global, in pages of 2 MiB
    2 MiB      page tables                 the same, but not writable in a para-virtual guest
    4 MiB      pages of process 0, 1, ...  from 256 GiB in each process's own address space, user
               demand pages                behind them

A para-virtual guest's entries name host frames ("machine frames"), so `frame_base` is where its memory begins there;
for the others it is 0, because EPT or the VMM's shadow tables add that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vafw.address import PAGE_SIZE, PAGE_SIZE_2M, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import GuestPagingEntry
from vafw.hw.vmx.delivery import gate

GUEST_BYTES: Final = 64 << 20
IDT: Final = 0x8000
STACK: Final = 0xF000
BUFFER: Final = 0x1_0000
"""Where a para-virtual guest puts what a hypercall points to."""
HANDLERS: Final = 0x2_0000
TABLES: Final = 2 << 20
PAGES: Final = 4 << 20
USER: Final = 0x40_0000_0000
"""Linear address of a process's first page."""
DEMAND: Final = USER + (512 << 12)
"""Linear address of the first page that is not present until it is touched."""
PAGE_FAULT_VECTOR, TIMER_VECTOR, DEVICE_VECTOR = 14, 0x20, 0x30

_P, _RW, _US = GuestPagingEntry.P.mask, GuestPagingEntry.RW.mask, GuestPagingEntry.US.mask
_A, _D, _PS, _G = GuestPagingEntry.A.mask, GuestPagingEntry.D.mask, GuestPagingEntry.PS.mask, GuestPagingEntry.G.mask
KERNEL: Final = _P | _RW | _A | _D | _G
TABLE: Final = _P | _RW | _US | _A
PAGE: Final = _P | _RW | _US


def handler_address(vector: int) -> int:
    """Where the code of a vector's handler stands."""
    return HANDLERS + vector * 16


@dataclass(slots=True)
class Layout:
    """One guest's memory."""

    memory: PhysicalMemory
    base: Hpa
    """Where the guest's memory begins on the host."""
    frame_base: int
    processes: int
    pages: int
    tables_writable: bool = True
    roots: list[int] = field(default_factory=list)
    """The value for CR3 of each process."""
    _next: int = TABLES
    _leaves: dict[tuple[int, int], int] = field(default_factory=dict)

    def build(self) -> None:
        """Write the tables, the IDT and a number into each page."""
        for vector in (PAGE_FAULT_VECTOR, TIMER_VECTOR, DEVICE_VECTOR):
            self.memory.write(Hpa(self.base + IDT + vector * 16), gate(handler_address(vector)))
        for process in range(self.processes):
            root = self._table()
            self.roots.append(root + self.frame_base)
            self._kernel_pages(root)
            for page in range(self.pages):
                self._poke(self._make_leaf(process, USER + page * PAGE_SIZE), self.entry(process, page))
                self._poke(self.frame(process, page), process * 1000 + page)
            for page in range(self.pages):
                self._make_leaf(process, DEMAND + page * PAGE_SIZE)

    def frame(self, process: int, page: int) -> int:
        """Guest-physical address of a process's page; the same number again behind all pages for a demand page."""
        return PAGES + (process * self.pages + page) * PAGE_SIZE

    def demand_frame(self, page: int) -> int:
        """Guest-physical address of what a demand page is mapped to."""
        return PAGES + (self.processes * self.pages + page) * PAGE_SIZE

    def entry(self, process: int, page: int) -> int:
        """The entry that maps a process's page."""
        return self.frame(process, page) + self.frame_base | PAGE

    def leaf(self, process: int, linear: int) -> int:
        """Guest-physical, and kernel-linear, address of the entry of one page."""
        return self._leaves[process, linear >> 21] + (linear >> 12 & 511) * 8

    def _kernel_pages(self, root: int) -> None:
        upper, lower = self._table(), self._table()
        self._poke(root, upper + self.frame_base | TABLE)
        self._poke(upper, lower + self.frame_base | TABLE)
        for large in range(0, PAGES, PAGE_SIZE_2M):
            rights = KERNEL if large < TABLES or self.tables_writable else KERNEL & ~_RW
            self._poke(lower + (large >> 21) * 8, large + self.frame_base | rights | _PS)

    def _make_leaf(self, process: int, linear: int) -> int:
        """Make the tables down to the entry of a page."""
        if (process, linear >> 21) not in self._leaves:
            table = self.roots[process] - self.frame_base
            for shift in (39, 30, 21):
                place = table + (linear >> shift & 511) * 8
                table = self._peek(place) & GuestPagingEntry.ADDRESS.mask
                if not table:
                    table = self._table() + self.frame_base
                    self._poke(place, table | TABLE)
                table -= self.frame_base
            self._leaves[process, linear >> 21] = table
        return self.leaf(process, linear)

    def _table(self) -> int:
        table = self._next
        self._next += PAGE_SIZE
        return table

    def _poke(self, gpa: int, value: int) -> None:
        self.memory.write_u64(Hpa(self.base + gpa), value)

    def _peek(self, gpa: int) -> int:
        return self.memory.read_u64(Hpa(self.base + gpa))
