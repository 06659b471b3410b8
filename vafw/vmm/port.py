"""A guest's network port on a link: two descriptor rings in the guest's memory, and the VMM's distrustful view of them.

The layout is that of the network card (`vafw.hw.pci.ring`), so that one driver serves both; but the registers are words
in a page of guest memory that the guest names by hypercall. Everything in that page is a claim. The VMM takes base and
number of entries once, keeps HEAD to itself and only shows it, and reads TAIL once for each batch.

    registers page    +0x00 rx ring    +0x20 tx ring    each BASE_LO BASE_HI ENTRIES HEAD TAIL

Descriptors are moved many at a time, because one read of a whole batch costs hardly more than one of a single entry.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, final

from vafw.errors import VafwError
from vafw.hw.pci.ring import DESCRIPTOR, DESCRIPTOR_SIZE, DONE, MAXIMUM_ENTRIES, RingRegister
from vafw.vmm.guest_memory import GuestMemory

RX_REGISTERS: Final = 0x00
TX_REGISTERS: Final = 0x20
_REGISTERS: Final = struct.Struct("<IIIII")


class RingFault(VafwError):
    """What a guest wrote into a ring's registers cannot be a ring."""


@final
class GuestRing:
    """One ring of a guest, the VMM in the place of the device."""

    def __init__(self, memory: GuestMemory, registers: int) -> None:
        """Take base and entries from the registers; RingFault or GuestAddressError where they are no ring."""
        base_lo: int
        base_hi: int
        entries: int
        base_lo, base_hi, entries, _, _ = _REGISTERS.unpack(memory.read(registers, _REGISTERS.size))
        if not 2 <= entries <= MAXIMUM_ENTRIES:
            raise RingFault(f"ENTRIES of a ring must be 2 to {MAXIMUM_ENTRIES}, not {entries}")
        self._memory = memory
        self._registers = registers
        self._base = base_hi << 32 | base_lo
        self._entries = entries
        self._head = 0
        memory.read(self._base, entries * DESCRIPTOR_SIZE)
        self._show_head()

    def posted(self) -> int:
        """Descriptors that the guest has posted and the VMM has not finished."""
        tail = int.from_bytes(self._memory.read(self._registers + RingRegister.TAIL, 4), "little")
        if tail >= self._entries:
            raise RingFault(f"TAIL of a ring must be below {self._entries}, not {tail}")
        return (tail - self._head) % self._entries

    def peek(self, count: int) -> list[tuple[int, int]]:
        """Address and length of the next `count` posted descriptors."""
        found = []
        for start, number in self._stretches(count):
            raw = self._memory.read(self._base + start * DESCRIPTOR_SIZE, number * DESCRIPTOR_SIZE)
            found += [(address, length) for address, length, _, _ in DESCRIPTOR.iter_unpack(raw)]
        return found

    def finish(self, done: Sequence[tuple[int, int]]) -> None:
        """Write these descriptors back with DONE, in order from HEAD, and move HEAD past them."""
        written = 0
        pack = DESCRIPTOR.pack
        for start, number in self._stretches(len(done)):
            raw = b"".join([pack(address, length, DONE, 0) for address, length in done[written : written + number]])
            self._memory.write(self._base + start * DESCRIPTOR_SIZE, raw)
            written += number
        self._head = (self._head + len(done)) % self._entries
        self._show_head()

    def _stretches(self, count: int) -> list[tuple[int, int]]:
        """`count` entries from HEAD as runs without a wrap: (first index, number)."""
        head = self._head
        before_wrap = self._entries - head
        return [(head, count)] if count <= before_wrap else [(head, before_wrap), (0, count - before_wrap)]

    def _show_head(self) -> None:
        self._memory.write(self._registers + RingRegister.HEAD, self._head.to_bytes(4, "little"))


@final
class LinkPort:
    """A port of a VM that links can be wired to; dead until the guest has set its rings up."""

    def __init__(self, vm: str, name: str, number: int, vector: int, memory: GuestMemory) -> None:
        """`vector` is the guest's interrupt vector for it."""
        self.vm = vm
        self.name = name
        self.number = number
        self.vector = vector
        self.memory = memory
        self.rx: GuestRing | None = None
        self.tx: GuestRing | None = None

    def set_up(self, registers: int) -> None:
        """The guest names its registers page; both rings start empty."""
        self.rx = self.tx = None
        rx = GuestRing(self.memory, registers + RX_REGISTERS)
        self.rx, self.tx = rx, GuestRing(self.memory, registers + TX_REGISTERS)

    def shut(self) -> None:
        """Take no frame in and give none out until the guest sets its rings up again."""
        self.rx = self.tx = None

    def __str__(self) -> str:
        return f"{self.vm}.{self.name}"
