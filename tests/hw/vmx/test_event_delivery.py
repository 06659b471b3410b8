"""Events through the guest's IDT: gates, frames, nesting, faults on the way, windows, NMIs, IDT-vectoring."""

from __future__ import annotations

import struct

import pytest

from tests.hw.vmx.paged import HANDLERS, IDT, STACK, PagedGuest
from tests.hw.vmx.rig import LEVEL2, RAM, advance
from vafw.address import Hpa
from vafw.hw.vmx import Access, AccessKind, GuestCpu, GuestProgram, Hlt, InveptType, Running, Vmcall, VmExit
from vafw.hw.vmx.bits import ExitReason, VmcsField
from vafw.hw.vmx.operation import Cli, Invlpg, Nop, Raise, Rdtsc, SoftwareInterrupt, Sti

PAGE = 0x20_0000_0000
EXTERNAL = 0x8000_0000


class Story:
    """What the guest's code did, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def handler(self, name: str) -> GuestProgram:
        def code(cpu: GuestCpu) -> Running:
            self.lines.append(name)
            yield Nop()

        return code

    def main(self, cpu: GuestCpu) -> Running:
        yield Sti()
        yield Nop()
        self.lines.append("main")
        yield Hlt()
        self.lines.append("after HLT")
        yield Hlt()


def ran(guest: PagedGuest, *, launch: bool = False) -> VmExit:
    left = guest.processor.vmlaunch() if launch else guest.processor.vmresume()
    assert isinstance(left, VmExit)
    return left


def inject(guest: PagedGuest, information: int, error_code: int = 0) -> VmExit:
    guest.processor.vmwrite(VmcsField.ENTRY_INTERRUPTION, information)
    guest.processor.vmwrite(VmcsField.ENTRY_ERROR_CODE, error_code)
    return ran(guest)


def test_an_injected_interrupt_runs_its_handler_and_goes_back() -> None:
    story = Story()
    guest = PagedGuest(story.main)
    guest.handle(0x41, story.handler("interrupt"))
    assert ran(guest, launch=True).reason is ExitReason.HLT
    advance(guest.processor, 1)
    assert inject(guest, EXTERNAL | 0x41).reason is ExitReason.HLT
    assert story.lines == ["main", "interrupt", "after HLT"]
    assert (guest.field("GUEST_RSP"), guest.field("GUEST_RFLAGS") & 0x200) == (STACK, 0x200)


def test_the_frame_on_the_stack_is_the_interrupted_state() -> None:
    guest = PagedGuest(Story().main)

    def handler(cpu: GuestCpu) -> Running:
        yield Vmcall(0)

    guest.handle(0x41, handler)
    ran(guest, launch=True)
    advance(guest.processor, 1)
    before = [guest.field(name) for name in ("GUEST_RIP", "GUEST_RFLAGS")]
    assert inject(guest, EXTERNAL | 0x41).reason is ExitReason.VMCALL
    frame = struct.unpack("<5Q", guest.memory.read(Hpa(RAM + STACK - 40), 40))
    assert frame == (before[0], 8, before[1], STACK, 0)
    assert (guest.field("GUEST_RIP"), guest.field("GUEST_RSP")) == (HANDLERS + 0x41 * 0x100, STACK - 40)
    assert not guest.field("GUEST_RFLAGS") & 0x200


def test_a_trap_gate_leaves_interrupts_on() -> None:
    guest = PagedGuest(Story().main)

    def handler(cpu: GuestCpu) -> Running:
        yield Vmcall(0)

    guest.handle(0x41, handler, kind=15)
    ran(guest, launch=True)
    advance(guest.processor, 1)
    inject(guest, EXTERNAL | 0x41)
    assert guest.field("GUEST_RFLAGS") & 0x200


def test_a_page_fault_handler_repairs_the_page_and_the_access_is_repeated() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        seen.append((yield Access(PAGE, 4)))
        yield Hlt()

    guest = PagedGuest(program)
    leaf = guest.map(PAGE, 0x5000, 0)
    guest.memory.write(Hpa(RAM + 0x5000), b"here")

    def handler(cpu: GuestCpu) -> Running:
        seen.append((guest.processor.state.cr2, cpu.read_u64(guest.field("GUEST_RSP"))))
        guest.poke(leaf, 0x5000 | 7)
        yield Invlpg(PAGE)

    guest.handle(14, handler)
    assert ran(guest, launch=True).reason is ExitReason.HLT
    assert seen == [(PAGE, 0), b"here"]


def test_a_software_interrupt_comes_back_behind_its_instruction() -> None:
    story = Story()

    def program(cpu: GuestCpu) -> Running:
        yield SoftwareInterrupt(0x80)
        story.lines.append("behind")
        yield Hlt()

    guest = PagedGuest(program)
    guest.handle(0x80, story.handler("INT 0x80"))
    assert ran(guest, launch=True).reason is ExitReason.HLT
    assert story.lines == ["INT 0x80", "behind"]


def test_the_exception_bitmap_takes_an_exception_away_from_the_guest() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Raise(6)

    guest = PagedGuest(program, EXCEPTION_BITMAP=1 << 6)
    left = ran(guest, launch=True)
    assert (left.reason, left.interruption) == (ExitReason.EXCEPTION_OR_NMI, 0x8000_0306)


def test_a_gate_that_is_not_present_is_a_second_exception_that_names_it() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield SoftwareInterrupt(0x90)

    guest = PagedGuest(program, EXCEPTION_BITMAP=1 << 11)
    guest.handle(0x90, program, kind=0)
    guest.memory.write(Hpa(RAM + IDT + 0x90 * 16 + 5), b"\x0e")
    left = ran(guest, launch=True)
    assert (left.interruption, left.error_code) == (0x8000_0B0B, 0x90 << 3 | 2)
    assert guest.field("IDT_VECTORING") == 0x8000_0490


def test_a_vector_beyond_the_idt_is_a_general_protection_fault_and_two_of_those_a_double_fault() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Raise(13, 0)

    def handler(cpu: GuestCpu) -> Running:
        yield Vmcall(8)

    guest = PagedGuest(program)
    guest.handle(8, handler)
    assert ran(guest, launch=True).reason is ExitReason.VMCALL
    assert guest.field("GUEST_RIP") == HANDLERS + 8 * 0x100


def test_without_any_handler_the_third_fault_is_the_triple_fault() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Raise(6)

    left = ran(PagedGuest(program), launch=True)
    assert (left.reason, left.detail) == (ExitReason.TRIPLE_FAULT, "no handler could be reached for event 8")


def test_a_breach_of_ept_during_delivery_leaves_the_event_to_be_injected_again() -> None:
    story = Story()
    guest = PagedGuest(story.main)
    guest.handle(0x41, story.handler("interrupt"))
    ran(guest, launch=True)
    advance(guest.processor, 1)
    table = 0x1_8000
    for index in range(512):
        guest.memory.write_u64(Hpa(table + index * 8), RAM + (index << 12) | 0x37)
    guest.memory.write_u64(Hpa(table + (STACK - 0x1000 >> 12) * 8), 0)
    guest.memory.write_u64(Hpa(LEVEL2), table | 7)
    guest.processor.invept(InveptType.ALL_CONTEXT)
    left = inject(guest, EXTERNAL | 0x41)
    assert (left.reason, guest.field("IDT_VECTORING")) == (ExitReason.EPT_VIOLATION, EXTERNAL | 0x41)
    guest.memory.write_u64(Hpa(table + (STACK - 0x1000 >> 12) * 8), RAM + STACK - 0x1000 | 0x37)
    assert inject(guest, guest.field("IDT_VECTORING")).reason is ExitReason.HLT
    assert story.lines == ["main", "interrupt", "after HLT"]


WINDOW = 0x8400_61FA | 1 << 2


def test_the_interrupt_window_opens_one_instruction_after_sti() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Nop()
        yield Sti()
        yield Nop()
        yield Nop()
        yield Hlt()

    guest = PagedGuest(program, PRIMARY_CONTROLS=WINDOW, GUEST_RIP=0x1000)
    left = ran(guest, launch=True)
    assert (left.reason, guest.field("GUEST_RIP")) == (ExitReason.INTERRUPT_WINDOW, 0x1003)
    assert guest.field("GUEST_INTERRUPTIBILITY") == 0


def test_no_window_opens_while_interrupts_are_masked() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Cli()
        yield Nop()
        yield Vmcall(1)

    assert ran(PagedGuest(program, PRIMARY_CONTROLS=WINDOW), launch=True).reason is ExitReason.VMCALL


def test_an_external_interrupt_injected_where_they_are_masked_fails_the_entry() -> None:
    guest = PagedGuest(Story().main, GUEST_RFLAGS=2, ENTRY_INTERRUPTION=EXTERNAL | 0x41)
    assert ran(guest, launch=True).entry_failed


@pytest.mark.parametrize(("pin", "exits"), [(0x1F, True), (0x17, False)])
def test_an_nmi_exits_or_goes_to_the_guest_and_blocks_the_next_until_iret(pin: int, exits: bool) -> None:
    story = Story()
    guest = PagedGuest(story.main, PIN_CONTROLS=pin)

    def handler(cpu: GuestCpu) -> Running:
        story.lines.append(f"NMI {guest.field('GUEST_INTERRUPTIBILITY'):#x}")
        yield Nop()

    guest.handle(2, handler)
    guest.processor.raise_nmi()
    left = ran(guest, launch=True)
    assert (left.reason is ExitReason.EXCEPTION_OR_NMI) == exits
    assert left.interruption == (0x8000_0202 if exits else 0)
    assert story.lines == ([] if exits else ["NMI 0x8", "main"])
    assert guest.field("GUEST_INTERRUPTIBILITY") == 0


def test_a_handler_that_is_interrupted_goes_back_in_order() -> None:
    story = Story()

    def outer(cpu: GuestCpu) -> Running:
        story.lines.append("outer")
        yield SoftwareInterrupt(0x42)
        story.lines.append("outer again")
        yield Rdtsc()

    guest = PagedGuest(story.main)
    guest.handle(0x41, outer)
    guest.handle(0x42, story.handler("inner"))
    ran(guest, launch=True)
    advance(guest.processor, 1)
    inject(guest, EXTERNAL | 0x41)
    assert story.lines == ["main", "outer", "inner", "outer again", "after HLT"]


def test_a_write_that_faults_is_repeated_as_a_write() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Access(PAGE, 0, AccessKind.WRITE, b"late")
        yield Hlt()

    guest = PagedGuest(program)
    leaf = guest.map(PAGE, 0x5000, 5)

    def handler(cpu: GuestCpu) -> Running:
        guest.poke(leaf, 0x5000 | 7)
        yield Nop()

    guest.handle(14, handler)
    ran(guest, launch=True)
    assert guest.memory.read(Hpa(RAM + 0x5000), 4) == b"late"
