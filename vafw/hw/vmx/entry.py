"""The checks of a VM entry on the control fields, and when a VMCS that has passed needs no second look.

Each check returns what is wrong in a few words, or an empty string; the words are for people, software sees a number.
What is wrong with controls fails the instruction with error 7, with the host state (`entry_host`) 8; with the guest
state (`entry_guest`) the entry ends in a VM exit, reason 33 with bit 31 set. (SDM volume 3, "VM Entries": "Checks on
VMX Controls and Host-State Area", "Checking and Loading Guest State".)

The same fields give the same answer, so a VMCS that has passed is not read again from end to end: `passes_again` looks
at what moves between two entries. Where it is not content, the full checks say why.

Two controls that silicon lets be 0 are fixed to 1 in this processor's capability MSRs, HLT exiting and
external-interrupt exiting: a guest can neither halt nor take an interrupt here without its VMM.
"""

from __future__ import annotations

from typing import Final

from vafw.hw.vmx.bits import (
    EXCEPTIONS_WITH_ERROR_CODE,
    NMI_VECTOR,
    EntryControl,
    ExitControl,
    Interruption,
    InterruptionType,
    PinControl,
    PrimaryControl,
    SecondaryControl,
    VmcsField,
)
from vafw.hw.vmx.entry_guest import moving_guest_fault
from vafw.hw.vmx.ept import EptCapability, eptp_is_valid
from vafw.hw.vmx.vmcs import Vmcs

_KINDS: Final = (
    (VmcsField.PIN_CONTROLS, PinControl, PinControl.DEFAULT1 | PinControl.EXTERNAL_INTERRUPT_EXITING),
    (VmcsField.PRIMARY_CONTROLS, PrimaryControl, PrimaryControl.DEFAULT1 | PrimaryControl.HLT_EXITING),
    (VmcsField.SECONDARY_CONTROLS, SecondaryControl, SecondaryControl(0)),
    (VmcsField.EXIT_CONTROLS, ExitControl, ExitControl.DEFAULT1 | ExitControl.HOST_ADDRESS_SPACE_SIZE),
    (VmcsField.ENTRY_CONTROLS, EntryControl, EntryControl.DEFAULT1),
)
ALLOWED: Final = tuple((field, int(must), int(must) | sum(kind)) for field, kind, must in _KINDS)
"""Each control field, the bits that must be 1 and the bits that may be (the capability MSRs' two halves)."""
CR3_TARGETS: Final = 4
"""CR3-target values that the processor has (IA32_VMX_MISC bits 24:16)."""
MSR_LIST_LENGTH: Final = 512
"""Entries of an MSR area (IA32_VMX_MISC bits 27:25); what silicon does with more is undefined, and here refused."""

_ACTIVATE_SECONDARY: Final = int(PrimaryControl.ACTIVATE_SECONDARY)
_VALID: Final = Interruption.VALID.mask
_EXTERNAL_ONLY: Final = 0xFFFF_FFFF & ~Interruption.VECTOR.mask
"""Just VALID of these: an external interrupt, of which nothing but the vector is left to say."""
_MSR_LISTS: Final = (
    (VmcsField.EXIT_MSR_STORE_COUNT, VmcsField.EXIT_MSR_STORE),
    (VmcsField.ENTRY_MSR_LOAD_COUNT, VmcsField.ENTRY_MSR_LOAD),
)


def controls_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    """What is wrong with the VM-execution, VM-exit and VM-entry control fields."""
    fields = vmcs.fields
    secondary_active = fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.ACTIVATE_SECONDARY
    for field, must, may in ALLOWED:
        value = fields[field]
        if field is VmcsField.SECONDARY_CONTROLS and not secondary_active:
            continue
        if value & must != must or value & ~may:
            return f"{field.name} must have {must:#x} set and nothing but {may:#x}, not {value:#x}"
    return (
        _secondary_fault(vmcs, capability)
        or _execution_fault(vmcs, capability)
        or _msr_list_fault(vmcs, capability)
        or _injection_fault(vmcs)
    )


def secondary_controls(vmcs: Vmcs) -> int:
    """The secondary processor-based controls in force: none where the primary ones do not activate them."""
    if vmcs.fields[VmcsField.PRIMARY_CONTROLS] & _ACTIVATE_SECONDARY:
        return vmcs.fields[VmcsField.SECONDARY_CONTROLS]
    return 0


def _secondary_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    fields, secondary = vmcs.fields, secondary_controls(vmcs)
    if secondary & SecondaryControl.ENABLE_VPID and not fields[VmcsField.VPID]:
        return "VPID must not be 0 where VPIDs are enabled"
    if secondary & SecondaryControl.UNRESTRICTED_GUEST and not secondary & SecondaryControl.ENABLE_EPT:
        return "an unrestricted guest must have EPT enabled"
    if secondary & SecondaryControl.ENABLE_EPT and not eptp_is_valid(fields[VmcsField.EPTP], capability):
        return f"EPTP must be well formed, not {fields[VmcsField.EPTP]:#x}"
    return ""


def _execution_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    """CR3 targets, the bitmaps' addresses, the preemption timer."""
    fields, primary = vmcs.fields, vmcs.fields[VmcsField.PRIMARY_CONTROLS]
    if fields[VmcsField.CR3_TARGETS] > CR3_TARGETS:
        return f"the CR3-target count must be at most {CR3_TARGETS}, not {fields[VmcsField.CR3_TARGETS]}"
    bitmaps = [VmcsField.IO_BITMAP_A, VmcsField.IO_BITMAP_B] if primary & PrimaryControl.USE_IO_BITMAPS else []
    if primary & PrimaryControl.USE_MSR_BITMAPS:
        bitmaps.append(VmcsField.MSR_BITMAP)
    for field in bitmaps:
        if fields[field] & 0xFFF or fields[field] >> capability.physical_bits:
            return f"{field.name} must be a page's physical address, not {fields[field]:#x}"
    saves = fields[VmcsField.EXIT_CONTROLS] & ExitControl.SAVE_PREEMPTION_TIMER
    if saves and not fields[VmcsField.PIN_CONTROLS] & PinControl.ACTIVATE_PREEMPTION_TIMER:
        return "the preemption timer must be active to be saved"
    return ""


def _msr_list_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    """The MSR areas; loading host MSRs from a list is not in this processor."""
    fields = vmcs.fields
    if fields[VmcsField.EXIT_MSR_LOAD_COUNT]:
        return "the VM-exit MSR-load list must be empty on this processor"
    for count, address in _MSR_LISTS:
        first, number = fields[address], fields[count]
        if number > MSR_LIST_LENGTH:
            return f"{count.name} must be at most {MSR_LIST_LENGTH}, not {number}"
        if number and (first & 0xF or first + 16 * number - 1 >> capability.physical_bits):
            return f"{address.name} must be 16-byte aligned and inside the physical width, not {first:#x}"
    return ""


def _injection_fault(vmcs: Vmcs) -> str:
    """What is wrong with the event to inject (SDM, "VM-Entry Control Fields")."""
    fields = vmcs.fields
    information = fields[VmcsField.ENTRY_INTERRUPTION]
    if not information & _VALID or information & _EXTERNAL_ONLY == _VALID:
        return ""
    vector, kind = Interruption.VECTOR.get(information), Interruption.TYPE.get(information)
    if information & Interruption.RESERVED.mask or kind in (InterruptionType.RESERVED, InterruptionType.OTHER):
        return f"the event to inject must be of a known type with reserved bits 0, not {information:#x}"
    if kind == InterruptionType.NMI and vector != NMI_VECTOR:
        return f"an NMI must be injected with vector 2, not {vector}"
    hardware = kind == InterruptionType.HARDWARE_EXCEPTION
    if hardware and vector > 31:
        return f"a hardware exception must be injected with a vector up to 31, not {vector}"
    delivers = bool(information & Interruption.ERROR_CODE.mask)
    if delivers != (hardware and vector in EXCEPTIONS_WITH_ERROR_CODE):
        return f"an error code must be delivered with the exceptions that have one, which {information:#x} does not"
    if delivers and fields[VmcsField.ENTRY_ERROR_CODE] >> 15:
        return "bits 31:15 of the error code to inject must be 0"
    if kind >= InterruptionType.SOFTWARE_INTERRUPT and not 1 <= fields[VmcsField.ENTRY_INSTRUCTION_LENGTH] <= 15:
        return "a software event must be injected with an instruction length from 1 to 15"
    return ""


def passes_again(vmcs: Vmcs) -> bool:
    """Whether a vetted VMCS would pass every check again."""
    return vmcs.vetted and not _injection_fault(vmcs) and not moving_guest_fault(vmcs)
