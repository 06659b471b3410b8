"""The checks of a VM entry: controls, host state, guest state; and of an entry that passed before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.vmx.rig import (
    EPTP,
    ROOT,
    VALUES,
    WRITABLE,
    halts,
    ready,
)
from vafw.hw.vmx import (
    LogicalProcessor,
    VmExit,
    VmFail,
)
from vafw.hw.vmx.bits import (
    ExitReason,
    VmcsField,
    VmError,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"VPID": 0},
        {"EPTP": ROOT | 0x1C},
        {"EPTP": EPTP | 1 << 39},
        {"PIN_CONTROLS": 0x16},
        {"PRIMARY_CONTROLS": 0x8400_617A},
        {"SECONDARY_CONTROLS": 0x80},
        {"EXIT_CONTROLS": 0x3_6DFB},
        {"ENTRY_CONTROLS": 0x1_11FB},
        {"EXIT_MSR_LOAD_COUNT": 1},
        {"SECONDARY_CONTROLS": 0x84},
        {"PIN_CONTROLS": 0x1},
        {"CR3_TARGETS": 5},
        {"PRIMARY_CONTROLS": 0x8600_61FA, "IO_BITMAP_B": 0x8001},
        {"PRIMARY_CONTROLS": 0x8600_61FA, "IO_BITMAP_A": 1 << 40},
        {"PRIMARY_CONTROLS": 0x9400_61FA, "MSR_BITMAP": 0x8800},
        {"EXIT_CONTROLS": 0x43_EFFB},
        {"ENTRY_MSR_LOAD_COUNT": 1, "ENTRY_MSR_LOAD": 8},
        {"EXIT_MSR_STORE_COUNT": 1, "EXIT_MSR_STORE": 1 << 39},
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
        {"HOST_CR4": 0x20},
        {"HOST_CR0": 0x8000_0021 | 1 << 40},
        {"HOST_CR4": 0x2000},
        {"HOST_CR4": 0x2020 | 1 << 30},
        {"HOST_CR3": 1 << 39},
        {"HOST_FS_BASE": 1 << 47},
        {"HOST_IDTR_BASE": 1 << 63},
        {"HOST_SYSENTER_EIP": 1 << 60},
        {"EXIT_CONTROLS": 0xB_EFFB, "HOST_PAT": 2},
        {"EXIT_CONTROLS": 0x23_EFFB, "HOST_EFER": 0x100},
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
        ({"GUEST_CR0": 0x8000_0020}, 0),
        ({"GUEST_CR0": 0x8000_0021}, 0),
        ({"GUEST_CR0": 0x21 | 1 << 33}, 0),
        ({"GUEST_CR4": 0x2_2000}, 0),
        ({"GUEST_CR4": 0x2000 | 1 << 31}, 0),
        ({"GUEST_CR3": 1 << 39}, 0),
        ({"ENTRY_CONTROLS": 0x11FF, "GUEST_DEBUGCTL": 4}, 0),
        ({"ENTRY_CONTROLS": 0x11FF, "GUEST_DR7": 1 << 32}, 0),
        ({"ENTRY_CONTROLS": 0x51FB, "GUEST_PAT": 3}, 0),
        ({"ENTRY_CONTROLS": 0x91FB, "GUEST_EFER": 0x400}, 0),
        ({"ENTRY_CONTROLS": 0x13FB}, 0),
        ({"GUEST_CS_RIGHTS": 0x93 | 4}, 0),
        ({"GUEST_CS_RIGHTS": 0x8B}, 0),
        ({"GUEST_CS_RIGHTS": 0xE09B}, 0),
        ({"GUEST_SS_RIGHTS": 0x91}, 0),
        ({"GUEST_DS_RIGHTS": 0x13}, 0),
        ({"GUEST_ES_RIGHTS": 0x193}, 0),
        ({"GUEST_FS_RIGHTS": 0x8093, "GUEST_FS_LIMIT": 0xFFFE}, 0),
        ({"GUEST_GS_LIMIT": 1 << 20}, 0),
        ({"GUEST_DS_BASE": 1 << 32}, 0),
        ({"GUEST_TR_RIGHTS": 0x89}, 0),
        ({"GUEST_TR_SELECTOR": 4}, 0),
        ({"GUEST_LDTR_RIGHTS": 0x83}, 0),
        ({"GUEST_GDTR_LIMIT": 1 << 16}, 0),
        ({"GUEST_IDTR_BASE": 1 << 47}, 0),
        ({"GUEST_INTERRUPTIBILITY": 3, "GUEST_RFLAGS": 0x202}, 0),
        ({"GUEST_INTERRUPTIBILITY": 1}, 0),
        ({"GUEST_INTERRUPTIBILITY": 4}, 0),
        ({"GUEST_INTERRUPTIBILITY": 0x20}, 0),
        ({"GUEST_INTERRUPTIBILITY": 2, "GUEST_ACTIVITY": 1}, 0),
        (
            {"GUEST_INTERRUPTIBILITY": 1, "GUEST_RFLAGS": 0x202, "ENTRY_INTERRUPTION": 0x8000_0041},
            0,
        ),
        ({"GUEST_RFLAGS": 0x2_0002}, 0),
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
        ({"PIN_CONTROLS": 0x16}, VmError.INVALID_CONTROLS),
        ({"ENTRY_INTERRUPTION": 0x8000_0103}, VmError.INVALID_CONTROLS),
        ({"EPTP": EPTP | 0x80}, VmError.INVALID_CONTROLS),
        ({"HOST_CR4": 0x20}, VmError.INVALID_HOST_STATE),
        ({"PIN_CONTROLS": 0x16, "GUEST_RFLAGS": 0}, VmError.INVALID_CONTROLS),
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
    processor = entered(PIN_CONTROLS=0x16)
    assert isinstance(processor.vmresume(), VmFail)
    processor.vmwrite(VmcsField.PIN_CONTROLS, 0x17)
    assert isinstance(processor.vmresume(), VmExit)
