"""The VMX instructions of the VMM, and how each of them fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hw.vmx.rig import (
    FIRST,
    SECOND,
    VMXON,
    halts,
    pc,
    ready,
)
from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx import (
    GeneralProtection,
    InvalidOpcode,
    InveptType,
    InvvpidType,
    LogicalProcessor,
    VmExit,
    VmFail,
)
from vafw.hw.vmx.bits import CR4_VMXE, REVISION, VmcsField, VmError
from vafw.hw.vmx.vmcs import blank_region


def vmx_capable(memory: PhysicalMemory) -> LogicalProcessor:
    processor = LogicalProcessor(memory)
    processor.cr4 |= CR4_VMXE
    return processor


def test_vmx_instructions_outside_vmx_operation_are_invalid_opcodes_refused() -> None:
    processor = LogicalProcessor(PhysicalMemory(1 << 20))
    with pytest.raises(InvalidOpcode, match=r"^a VMX instruction must be executed in VMX operation, after VMXON$"):
        processor.vmptrld(FIRST)


@pytest.mark.parametrize("region", [0x1001, 0x1800, 1 << 39])
def test_vmxon_with_a_bad_region_is_refused_without_a_number(region: int) -> None:
    outcome = vmx_capable(PhysicalMemory(1 << 20)).vmxon(Hpa(region))
    assert outcome == VmFail(None, "the VMXON region must be aligned, in range and of revision 4")


def test_vmxon_with_a_wrong_revision_is_refused() -> None:
    memory = PhysicalMemory(1 << 20)
    blank_region(memory, VMXON, REVISION + 1)
    assert isinstance(vmx_capable(memory).vmxon(VMXON), VmFail)


@pytest.mark.parametrize(
    ("register", "value", "message"),
    [
        ("cr4", 0x20, "CR4.VMXE must be 1 for VMXON"),
        ("cr0", 0x8000_0001, "CR0 must have PG, NE and PE set for VMXON, not 0x80000001"),
        ("feature_control", 4, "IA32_FEATURE_CONTROL must be locked with VMX enabled for VMXON, not 0x4"),
        ("feature_control", 3, "IA32_FEATURE_CONTROL must be locked with VMX enabled for VMXON, not 0x3"),
    ],
)
def test_vmxon_on_a_processor_that_is_not_ready_for_it_is_refused(register: str, value: int, message: str) -> None:
    processor = vmx_capable(PhysicalMemory(1 << 20))
    setattr(processor, register, value)
    with pytest.raises((InvalidOpcode, GeneralProtection)) as refusal:
        processor.vmxon(VMXON)
    assert str(refusal.value) == message


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
    ("vmcall in root", lambda p: p.vmcall(), VmError.VMCALL_IN_ROOT),
    ("invvpid of VPID 0", lambda p: p.invvpid(InvvpidType.SINGLE_CONTEXT, 0), VmError.INVALID_OPERAND),
    (
        "invvpid of an address that is not canonical",
        lambda p: p.invvpid(InvvpidType.INDIVIDUAL_ADDRESS, 1, 1 << 47),
        VmError.INVALID_OPERAND,
    ),
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
    other = vmx_capable(memory)
    blank_region(memory, Hpa(0x8000), REVISION)
    other.vmxon(Hpa(0x8000))
    other.vmptrld(FIRST)
    assert other.vmread(VmcsField.VPID) == 0
    other.vmclear(FIRST)
    processor.vmclear(FIRST)
    other.vmptrld(FIRST)
    assert other.vmread(VmcsField.VPID) == 1
