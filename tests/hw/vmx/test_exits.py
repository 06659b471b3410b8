"""What a guest's operations leave the VMM to see, and what the VMM can answer."""

from __future__ import annotations

from tests.hw.vmx.rig import (
    LEVEL2,
    RAM,
    advance,
    halts,
    ready,
    returns,
)
from vafw.address import Gpa, Hpa
from vafw.hw.vmx import (
    Access,
    AccessKind,
    Cpuid,
    GuestCpu,
    GuestFault,
    Hlt,
    Running,
    Vmcall,
    VmExit,
)
from vafw.hw.vmx.bits import (
    ExitReason,
    Interruption,
    VmcsField,
)


def test_an_operation_is_repeated_until_the_vmm_moves_rip_past_it() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Vmcall(7)
        yield Hlt()

    _, processor = ready(program)
    assert processor.vmlaunch() == processor.vmresume() == VmExit(ExitReason.VMCALL, instruction_length=3)
    assert processor.registers.rax == 7
    advance(processor, 3)
    assert processor.vmresume() == VmExit(ExitReason.HLT, instruction_length=1)
    assert processor.vmread(VmcsField.GUEST_RIP) == 0x1003


def test_rip_moved_anywhere_else_finds_no_code() -> None:
    _, processor = ready(halts)
    processor.vmlaunch()
    advance(processor, 2)
    outcome = processor.vmresume()
    assert outcome == VmExit(ExitReason.TRIPLE_FAULT, detail="there is no code at RIP 0x1002")


def test_the_guest_finds_what_the_vmm_left_in_the_registers() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        seen.append((yield Vmcall(1, 2, 3, 4)))
        seen.append((yield Cpuid(0x4000_0000)))
        yield Hlt()

    _, processor = ready(program)
    processor.vmlaunch()
    assert (processor.registers.rbx, processor.registers.rcx, processor.registers.rdx) == (2, 3, 4)
    processor.registers.rax = 99
    advance(processor, 3)
    assert processor.vmresume() == VmExit(ExitReason.CPUID, instruction_length=2)
    assert processor.registers.rax == 0x4000_0000
    processor.registers.rbx = 5
    advance(processor, 2)
    processor.vmresume()
    assert seen == [99, (0x4000_0000, 5, 0, 0)]


def test_an_injected_interrupt_is_what_hlt_returns_and_the_field_is_used_up() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        while True:
            seen.append((yield Hlt()))

    _, processor = ready(program)
    processor.vmlaunch()
    advance(processor, 1)
    processor.vmwrite(VmcsField.ENTRY_INTERRUPTION, 0x8000_0041)
    assert processor.vmresume() == VmExit(ExitReason.HLT, instruction_length=1)
    assert processor.vmread(VmcsField.ENTRY_INTERRUPTION) == 0x41
    advance(processor, 1)
    processor.vmresume()
    assert seen == [0x41, None]


def test_an_external_interrupt_exits_after_what_the_vmm_injects_and_before_the_guests_next_instruction() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        while True:
            seen.append((yield Hlt()))

    _, processor = ready(program)
    processor.vmlaunch()
    advance(processor, 1)
    processor.vmwrite(VmcsField.ENTRY_INTERRUPTION, 0x8000_0041)
    processor.raise_interrupt(0xF0)
    outcome = processor.vmresume()
    assert outcome == VmExit(ExitReason.EXTERNAL_INTERRUPT, interruption=Interruption.pack(VALID=1, VECTOR=0xF0))
    assert (seen, processor.vmread(VmcsField.IDT_VECTORING)) == ([0x41], 0)
    assert processor.vmresume() == VmExit(ExitReason.HLT, instruction_length=1)


def test_an_access_that_faults_exits_and_can_be_answered_with_an_exception() -> None:
    seen: list[str] = []

    def program(cpu: GuestCpu) -> Running:
        try:
            yield Access(Gpa(0x40_0000), 8, AccessKind.WRITE, b"x" * 8)
        except GuestFault as fault:
            seen.append(str(fault))
        yield Hlt()

    _, processor = ready(program)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmExit)
    assert (outcome.reason, outcome.qualification, outcome.gpa) == (ExitReason.EPT_VIOLATION, 0x182, 0x40_0000)
    assert processor.vmread(VmcsField.GUEST_PHYSICAL_ADDRESS) == 0x40_0000
    processor.vmwrite(VmcsField.ENTRY_INTERRUPTION, 0x8000_0B0D)
    assert processor.vmresume() == VmExit(ExitReason.HLT, instruction_length=1)
    assert seen == ["exception 13, error code 0x0"]


def test_an_access_is_tried_again_when_the_vmm_has_mapped_the_page() -> None:
    seen: list[object] = []

    def program(cpu: GuestCpu) -> Running:
        seen.append((yield Access(Gpa(0x40_0000), 4)))
        yield Hlt()

    memory, processor = ready(program)
    processor.vmlaunch()
    memory.write(Hpa(0x80_0000), b"here")
    memory.write_u64(Hpa(LEVEL2 + 16), 0x80_0000 | 0xB7)
    assert processor.vmresume() == VmExit(ExitReason.HLT, instruction_length=1)
    assert seen == [b"here"]


def test_a_store_over_a_page_edge_stores_nothing_where_the_second_page_is_refused() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Access(Gpa(0x3F_FFFC), 8, AccessKind.WRITE, b"12345678")

    memory, processor = ready(program)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmExit)
    assert outcome.gpa == 0x40_0000
    assert memory.read(Hpa(RAM + 0x3F_FFFC), 4) == bytes(4)


def test_a_plain_access_that_is_refused_exits_once_and_then_the_guest_has_no_future() -> None:
    def program(cpu: GuestCpu) -> Running:
        cpu.read(0x40_0000, 4)
        yield Hlt()

    _, processor = ready(program)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmExit)
    assert (outcome.reason, outcome.qualification) == (ExitReason.EPT_VIOLATION, 0x181)
    processor.vmwrite(VmcsField.ENTRY_INTERRUPTION, 0x8000_0B0D)
    after = processor.vmresume()
    assert isinstance(after, VmExit)
    assert after.reason is ExitReason.TRIPLE_FAULT


def test_a_guest_cannot_swallow_a_refused_access_and_go_on() -> None:
    def program(cpu: GuestCpu) -> Running:
        try:
            cpu.write(0x40_0000, b"escape")
        except BaseException:
            yield Vmcall(1)

    _, processor = ready(program)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmExit)
    assert outcome.reason is ExitReason.EPT_VIOLATION


def test_a_misconfigured_entry_exits_with_reason_49() -> None:
    def program(cpu: GuestCpu) -> Running:
        yield Access(Gpa(0), 4)

    memory, processor = ready(program)
    memory.write_u64(Hpa(LEVEL2), RAM | 0xB2)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmExit)
    assert (outcome.reason, outcome.qualification) == (ExitReason.EPT_MISCONFIGURATION, 0)


def test_a_program_that_returns_or_raises_is_a_triple_fault_with_its_reason() -> None:
    def raises(cpu: GuestCpu) -> Running:
        yield from ()
        raise RuntimeError("a bug in the guest")

    outcomes = [ready(program)[1].vmlaunch() for program in (returns, raises)]
    assert outcomes == [
        VmExit(ExitReason.TRIPLE_FAULT, detail="the program returned"),
        VmExit(ExitReason.TRIPLE_FAULT, detail="RuntimeError: a bug in the guest"),
    ]
