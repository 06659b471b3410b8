"""A guest in IA-32e mode: its own tables in its own memory, an IDT, a stack, and handlers where the gates lead."""

from __future__ import annotations

from tests.hw.vmx.rig import FIRST, GOOD, RAM, pc
from vafw.address import Hpa
from vafw.hw.vmx import GuestProgram
from vafw.hw.vmx.bits import VmcsField
from vafw.hw.vmx.delivery import gate

CR3 = 0x10_0000
"""Guest-physical: the topmost table; the others follow."""
IDT, STACK, HANDLERS = 0x8000, 0x9000, 0x40_0000_0000
PAGED = {
    "GUEST_CR0": 0x8001_0021,
    "GUEST_CR3": CR3,
    "GUEST_CR4": 0x20A0,
    "ENTRY_CONTROLS": 0x93FB,
    "GUEST_EFER": 0xD00,
    "GUEST_IDTR_BASE": IDT,
    "GUEST_IDTR_LIMIT": 0xFFF,
    "GUEST_RSP": STACK,
    "GUEST_CS_SELECTOR": 8,
    "GUEST_CS_RIGHTS": 0xA09B,
    "CR0_MASK": 0,
}


class PagedGuest:
    """Memory, processor and tables of one such guest, with linear 0 to 2 MiB mapped to the same guest-physical."""

    def __init__(self, program: GuestProgram, **fields: int) -> None:
        self.memory, self.processor = pc()
        self._next = CR3 + 0x1000
        self.map(0, 0, level=2)
        assert self.processor.vmclear(FIRST) is None
        assert self.processor.vmptrld(FIRST) is None
        wanted = GOOD | {VmcsField[name]: value for name, value in (PAGED | fields).items()}
        for field, value in wanted.items():
            assert self.processor.vmwrite(field, value) is None
        self.processor.place(FIRST, program)

    def map(self, linear: int, gpa: int, flags: int = 7, level: int = 1) -> int:
        """Write the entries that lead to one page; returns where its leaf stands, guest-physical."""
        table = CR3
        for above in (4, 3, 2):
            place = table + (linear >> 3 + 9 * above & 511) * 8
            if above == level:
                break
            if not self.peek(place):
                self.poke(place, self._next | 7)
                self._next += 0x1000
            table = self.peek(place) & ~0xFFF
        else:
            place = table + (linear >> 12 & 511) * 8
        self.poke(place, gpa | flags | (0x80 if level > 1 else 0))
        return place

    def poke(self, gpa: int, value: int) -> None:
        self.memory.write_u64(Hpa(RAM + gpa), value)

    def peek(self, gpa: int) -> int:
        return self.memory.read_u64(Hpa(RAM + gpa))

    def handle(self, vector: int, handler: GuestProgram, **changed: int) -> None:
        """Put code behind a gate."""
        address = HANDLERS + vector * 0x100
        self.memory.write(Hpa(RAM + IDT + vector * 16), gate(address, **changed))
        self.processor.guest(FIRST).code[address] = handler

    def field(self, name: str) -> int:
        value = self.processor.vmread(VmcsField[name])
        assert isinstance(value, int)
        return value
