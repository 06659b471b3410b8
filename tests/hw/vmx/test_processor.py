"""VMX instructions with their failures, VM entries and exits, injected events, stale translations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import PAGE_SIZE_2M, Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx import (
    Access,
    AccessKind,
    Cpuid,
    GuestCpu,
    GuestFault,
    GuestProgram,
    Hlt,
    InvalidOpcode,
    InveptType,
    LogicalProcessor,
    Running,
    Vmcall,
    VmExit,
    VmFail,
)
from vafw.hw.vmx.bits import (
    NO_LINK,
    READ_ONLY,
    REVISION,
    Encoding,
    ExitReason,
    Interruption,
    VmcsField,
    VmError,
)
from vafw.hw.vmx.vmcs import blank_region

VMXON, FIRST, SECOND = Hpa(0x1000), Hpa(0x2000), Hpa(0x3000)
ROOT, LEVEL3, LEVEL2 = 0x1_0000, 0x1_1000, 0x1_2000
EPTP = ROOT | 0x1E
RAM = 0x40_0000
"""Host address of the guest's two large pages."""
GOOD = {
    VmcsField.LINK_POINTER: NO_LINK,
    VmcsField.PIN_CONTROLS: 1,
    VmcsField.PRIMARY_CONTROLS: 0x8000_0088,
    VmcsField.SECONDARY_CONTROLS: 0xA2,
    VmcsField.EXIT_CONTROLS: 0x8200,
    VmcsField.VPID: 1,
    VmcsField.EPTP: EPTP,
    VmcsField.HOST_CR0: 0x8000_0021,
    VmcsField.HOST_CR4: 0x2000,
    VmcsField.HOST_CS_SELECTOR: 8,
    VmcsField.HOST_TR_SELECTOR: 0x40,
    VmcsField.GUEST_CR0: 0x20,
    VmcsField.GUEST_CR4: 0x2000,
    VmcsField.GUEST_RFLAGS: 2,
    VmcsField.GUEST_RIP: 0x1000,
}

WRITABLE = [each for each in VmcsField if Encoding.TYPE.get(each) != READ_ONLY]
VALUES = [0, 1, 2, 4, 0x20, 0x202, 0x2000, 0x8000_0030, 0x8000_0B0D, 1 << 46, 1 << 47, NO_LINK]


def pc() -> tuple[PhysicalMemory, LogicalProcessor]:
    """A processor in VMX operation, EPT tables of 4 MiB, and two clear VMCSs."""
    memory = PhysicalMemory(1 << 24)
    memory.write_u64(Hpa(ROOT), LEVEL3 | 7)
    memory.write_u64(Hpa(LEVEL3), LEVEL2 | 7)
    memory.write_u64(Hpa(LEVEL2), RAM | 0xB7)
    memory.write_u64(Hpa(LEVEL2 + 8), RAM + PAGE_SIZE_2M | 0xB7)
    processor = LogicalProcessor(memory)
    for region in (VMXON, FIRST, SECOND):
        blank_region(memory, region, REVISION)
    assert processor.vmxon(VMXON) is None
    return memory, processor


def ready(program: GuestProgram, **fields: int) -> tuple[PhysicalMemory, LogicalProcessor]:
    """As `pc`, with a good VMCS current, some fields replaced by name, and a guest placed."""
    memory, processor = pc()
    assert processor.vmclear(FIRST) is None
    assert processor.vmptrld(FIRST) is None
    for field, value in (GOOD | {VmcsField[name]: value for name, value in fields.items()}).items():
        assert processor.vmwrite(field, value) is None
    processor.place(FIRST, program)
    return memory, processor


def advance(processor: LogicalProcessor, length: int) -> None:
    rip = processor.vmread(VmcsField.GUEST_RIP)
    assert isinstance(rip, int)
    processor.vmwrite(VmcsField.GUEST_RIP, rip + length)


def halts(cpu: GuestCpu) -> Running:
    while True:
        yield Hlt()


def returns(cpu: GuestCpu) -> Running:
    yield from ()


# -- instructions -------------------------------------------------------------------------------------------------


def test_vmx_instructions_outside_vmx_operation_are_invalid_opcodes_refused() -> None:
    processor = LogicalProcessor(PhysicalMemory(1 << 20))
    with pytest.raises(InvalidOpcode, match=r"^a VMX instruction must be executed in VMX operation, after VMXON$"):
        processor.vmptrld(FIRST)


@pytest.mark.parametrize("region", [0x1001, 0x1800, 1 << 39])
def test_vmxon_with_a_bad_region_is_refused_without_a_number(region: int) -> None:
    outcome = LogicalProcessor(PhysicalMemory(1 << 20)).vmxon(Hpa(region))
    assert outcome == VmFail(None, "the VMXON region must be aligned, in range and of revision 4")


def test_vmxon_with_a_wrong_revision_is_refused() -> None:
    memory = PhysicalMemory(1 << 20)
    blank_region(memory, VMXON, REVISION + 1)
    assert isinstance(LogicalProcessor(memory).vmxon(VMXON), VmFail)


Instruction = Callable[[LogicalProcessor], VmFail | VmExit | int | None]

FAILURES: list[tuple[str, Instruction, VmError]] = [
    ("vmxon twice", lambda p: p.vmxon(VMXON), VmError.VMXON_IN_ROOT),
    ("vmclear unaligned", lambda p: p.vmclear(Hpa(0x2001)), VmError.VMCLEAR_INVALID_ADDRESS),
    ("vmclear too wide", lambda p: p.vmclear(Hpa(1 << 40)), VmError.VMCLEAR_INVALID_ADDRESS),
    ("vmclear of the VMXON region", lambda p: p.vmclear(VMXON), VmError.VMCLEAR_VMXON_POINTER),
    ("vmptrld unaligned", lambda p: p.vmptrld(Hpa(0x2800)), VmError.VMPTRLD_INVALID_ADDRESS),
    ("vmptrld of the VMXON region", lambda p: p.vmptrld(VMXON), VmError.VMPTRLD_VMXON_POINTER),
    ("vmptrld of another revision", lambda p: p.vmptrld(Hpa(0x9000)), VmError.VMPTRLD_WRONG_REVISION),
    ("vmread of no field", lambda p: p.vmread(0x7000), VmError.UNSUPPORTED_COMPONENT),
    ("vmwrite of no field", lambda p: p.vmwrite(0x7000, 0), VmError.UNSUPPORTED_COMPONENT),
    ("vmwrite of a read-only field", lambda p: p.vmwrite(VmcsField.EXIT_REASON, 0), VmError.READ_ONLY_COMPONENT),
    ("vmresume before vmlaunch", lambda p: p.vmresume(), VmError.VMRESUME_NOT_LAUNCHED),
    ("invept of a bad EPTP", lambda p: p.invept(InveptType.SINGLE_CONTEXT, 0), VmError.INVALID_OPERAND),
]


@pytest.mark.parametrize(("instruction", "error"), [each[1:] for each in FAILURES], ids=[each[0] for each in FAILURES])
def test_an_instruction_that_fails_leaves_its_number_in_the_current_vmcs(
    instruction: Instruction, error: VmError
) -> None:
    _, processor = ready(halts)
    outcome = instruction(processor)
    assert isinstance(outcome, VmFail)
    assert (outcome.error, processor.vmread(VmcsField.INSTRUCTION_ERROR)) == (error, error.value)


@pytest.mark.parametrize(("instruction", "error"), [each[1:] for each in FAILURES], ids=[each[0] for each in FAILURES])
def test_without_a_current_vmcs_every_failure_is_vmfailinvalid(instruction: Instruction, error: VmError) -> None:
    _, processor = pc()
    outcome = instruction(processor)
    assert isinstance(outcome, VmFail)
    assert outcome.error is None


def test_vmlaunch_of_a_launched_vmcs_is_refused_and_vmclear_makes_it_clear_again() -> None:
    _, processor = ready(halts)
    assert isinstance(processor.vmlaunch(), VmExit)
    assert processor.vmlaunch() == VmFail(VmError.VMLAUNCH_NOT_CLEAR)
    processor.vmclear(FIRST)
    processor.vmptrld(FIRST)
    assert isinstance(processor.vmlaunch(), VmExit)


def test_two_active_vmcss_keep_their_own_fields_and_one_is_current() -> None:
    _, processor = pc()
    for region, vpid in ((FIRST, 1), (SECOND, 2)):
        processor.vmclear(region)
        processor.vmptrld(region)
        processor.vmwrite(VmcsField.VPID, vpid)
    assert (processor.vmptrst(), processor.vmread(VmcsField.VPID)) == (SECOND, 2)
    processor.vmptrld(FIRST)
    assert processor.vmread(VmcsField.VPID) == 1
    processor.vmclear(SECOND)
    assert processor.vmptrst() == FIRST
    processor.vmclear(FIRST)
    assert processor.vmptrst() == 0xFFFF_FFFF_FFFF_FFFF


def test_an_active_vmcs_moves_between_processors_only_through_vmclear() -> None:
    memory, processor = ready(halts)
    other = LogicalProcessor(memory, 1)
    blank_region(memory, Hpa(0x8000), REVISION)
    other.vmxon(Hpa(0x8000))
    other.vmptrld(FIRST)
    assert other.vmread(VmcsField.VPID) == 0
    other.vmclear(FIRST)
    processor.vmclear(FIRST)
    other.vmptrld(FIRST)
    assert other.vmread(VmcsField.VPID) == 1


# -- VM entry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"VPID": 0},
        {"EPTP": ROOT | 0x1C},
        {"EPTP": EPTP | 1 << 39},
        {"PIN_CONTROLS": 0},
        {"PRIMARY_CONTROLS": 0x8000_0008},
        {"SECONDARY_CONTROLS": 0xA0},
        {"EXIT_CONTROLS": 0},
        {"ENTRY_CONTROLS": 1},
        {"ENTRY_MSR_LOAD_COUNT": 1},
        {"ENTRY_INTERRUPTION": 0x8000_1030},
        {"ENTRY_INTERRUPTION": 0x8000_0130},
        {"ENTRY_INTERRUPTION": 0x8000_0203},
        {"ENTRY_INTERRUPTION": 0x8000_0320},
        {"ENTRY_INTERRUPTION": 0x8000_030D},
        {"ENTRY_INTERRUPTION": 0x8000_0B06},
        {"ENTRY_INTERRUPTION": 0x8000_0B0D, "ENTRY_ERROR_CODE": 0x8000},
        {"ENTRY_INTERRUPTION": 0x8000_0480},
    ],
)
def test_an_entry_with_bad_controls_is_refused_with_error_7(wrong: dict[str, int]) -> None:
    _, processor = ready(halts, **wrong)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmFail)
    assert outcome.error is VmError.INVALID_CONTROLS


@pytest.mark.parametrize(
    "wrong",
    [
        {"HOST_CR0": 0x8000_0001},
        {"HOST_CR4": 0},
        {"HOST_CS_SELECTOR": 0},
        {"HOST_TR_SELECTOR": 0},
        {"HOST_DS_SELECTOR": 3},
        {"HOST_RIP": 1 << 47},
    ],
)
def test_an_entry_with_bad_host_state_is_refused_with_error_8(wrong: dict[str, int]) -> None:
    _, processor = ready(halts, **wrong)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmFail)
    assert outcome.error is VmError.INVALID_HOST_STATE


@pytest.mark.parametrize(
    ("wrong", "qualification"),
    [
        ({"GUEST_CR0": 0}, 0),
        ({"GUEST_CR4": 0}, 0),
        ({"GUEST_RFLAGS": 0}, 0),
        ({"GUEST_RFLAGS": 0xA}, 0),
        ({"GUEST_ACTIVITY": 4}, 0),
        ({"GUEST_RIP": 1 << 63}, 0),
        ({"ENTRY_INTERRUPTION": 0x8000_0030}, 0),
        ({"SECONDARY_CONTROLS": 0x22}, 0),
        ({"LINK_POINTER": 0x5000}, 4),
    ],
)
def test_an_entry_with_bad_guest_state_exits_with_reason_33_and_bit_31(
    wrong: dict[str, int], qualification: int
) -> None:
    _, processor = ready(halts, **wrong)
    outcome = processor.vmlaunch()
    assert isinstance(outcome, VmExit)
    assert outcome.entry_failed
    assert processor.vmread(VmcsField.EXIT_REASON) == 0x8000_0021
    assert processor.vmread(VmcsField.EXIT_QUALIFICATION) == qualification
    assert processor.vmresume() == VmFail(VmError.VMRESUME_NOT_LAUNCHED)


# -- VM exits -----------------------------------------------------------------------------------------------------


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


def test_an_external_interrupt_comes_before_the_guest_and_keeps_what_was_being_injected() -> None:
    _, processor = ready(halts)
    processor.vmlaunch()
    advance(processor, 1)
    processor.vmwrite(VmcsField.ENTRY_INTERRUPTION, 0x8000_0041)
    processor.raise_interrupt(0xF0)
    outcome = processor.vmresume()
    assert outcome == VmExit(ExitReason.EXTERNAL_INTERRUPT, interruption=Interruption.pack(VALID=1, VECTOR=0xF0))
    assert processor.vmread(VmcsField.IDT_VECTORING) == 0x8000_0041
    processor.vmwrite(VmcsField.ENTRY_INTERRUPTION, 0x8000_0041)
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


# -- translations -------------------------------------------------------------------------------------------------


def looks_at_page(cpu: GuestCpu) -> Running:
    while True:
        yield Vmcall(int.from_bytes(cpu.read(0x20_0000, 1), "little"))


def seen_by(processor: LogicalProcessor) -> int:
    outcome = processor.vmresume()
    assert isinstance(outcome, VmExit)
    assert outcome.reason is ExitReason.VMCALL
    advance(processor, 3)
    return processor.registers.rax


def remap_second_page(memory: PhysicalMemory) -> None:
    memory.write(Hpa(RAM + PAGE_SIZE_2M), b"\x01")
    memory.write(Hpa(0x80_0000), b"\x02")
    memory.write_u64(Hpa(LEVEL2 + 8), 0x80_0000 | 0xB7)


def test_a_changed_entry_may_go_unseen_until_invept() -> None:
    memory, processor = ready(looks_at_page)
    processor.vmlaunch()
    advance(processor, 3)
    remap_second_page(memory)
    assert seen_by(processor) == 1
    assert processor.invept(InveptType.SINGLE_CONTEXT, EPTP) is None
    assert [seen_by(processor), seen_by(processor)] == [2, 2]


def test_invept_of_another_eptp_forgets_nothing_of_this_one_and_of_all_everything() -> None:
    memory, processor = ready(looks_at_page)
    processor.vmlaunch()
    advance(processor, 3)
    remap_second_page(memory)
    processor.invept(InveptType.SINGLE_CONTEXT, 0x9_0000 | 0x1E)
    assert seen_by(processor) == 1
    processor.invept(InveptType.ALL_CONTEXT)
    assert seen_by(processor) == 2


def test_the_guest_sees_the_time_stamp_counter_with_its_offset() -> None:
    def program(cpu: GuestCpu) -> Running:
        while True:
            yield Vmcall(cpu.tsc())

    _, processor = ready(program, TSC_OFFSET=1000)
    processor.tsc = 5
    processor.vmlaunch()
    assert processor.registers.rax == 1005


# -- entries of a VMCS that has passed the checks before ---------------------------------------------------------


def judged(outcome: VmExit | VmFail) -> tuple[bool, object, str]:
    """What the checks of an entry made of it: failed, with which number or reason, and why."""
    failed = isinstance(outcome, VmFail) or outcome.entry_failed
    number = outcome.error if isinstance(outcome, VmFail) else outcome.entry_failed
    return failed, number, (outcome.why if isinstance(outcome, VmFail) else outcome.detail) * failed


def entered(**fields: int) -> LogicalProcessor:
    """A processor whose current VMCS has been entered once, with some fields written since."""
    _, processor = ready(halts)
    assert isinstance(processor.vmlaunch(), VmExit)
    for name, value in fields.items():
        assert processor.vmwrite(VmcsField[name], value) is None
    return processor


@given(field=st.sampled_from(sorted(WRITABLE)), value=st.sampled_from(VALUES) | st.integers(0, 2**64 - 1))
def test_an_entry_that_passed_before_is_judged_as_if_it_were_the_first(field: VmcsField, value: int) -> None:
    first = ready(halts, **{field.name: value})[1].vmlaunch()
    again = entered(**{"GUEST_RIP": 0x1000, "GUEST_RFLAGS": 2, field.name: value}).vmresume()
    assert judged(first) == judged(again)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"PIN_CONTROLS": 0}, VmError.INVALID_CONTROLS),
        ({"ENTRY_INTERRUPTION": 0x8000_0103}, VmError.INVALID_CONTROLS),
        ({"EPTP": EPTP | 0x80}, VmError.INVALID_CONTROLS),
        ({"HOST_CR4": 0}, VmError.INVALID_HOST_STATE),
        ({"PIN_CONTROLS": 0, "GUEST_RFLAGS": 0}, VmError.INVALID_CONTROLS),
    ],
)
def test_controls_and_host_state_spoiled_after_an_entry_are_refused(fields: dict[str, int], error: VmError) -> None:
    refused = entered(**fields).vmresume()
    assert isinstance(refused, VmFail)
    assert refused.error is error


@pytest.mark.parametrize(
    "fields",
    [{"GUEST_CR0": 0}, {"GUEST_RFLAGS": 0}, {"GUEST_ACTIVITY": 4}, {"GUEST_RIP": 1 << 47}, {"LINK_POINTER": 0}],
)
def test_guest_state_spoiled_after_an_entry_exits_with_reason_33(fields: dict[str, int]) -> None:
    left = entered(**fields).vmresume()
    assert isinstance(left, VmExit)
    assert (left.reason, left.entry_failed) == (ExitReason.INVALID_GUEST_STATE, True)


def test_what_was_spoiled_and_mended_passes_again() -> None:
    processor = entered(PIN_CONTROLS=0)
    assert isinstance(processor.vmresume(), VmFail)
    processor.vmwrite(VmcsField.PIN_CONTROLS, 1)
    assert isinstance(processor.vmresume(), VmExit)
