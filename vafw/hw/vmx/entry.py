"""The checks of a VM entry, in the manual's order: controls, host state, guest state.

Each check returns what is wrong in a few words, or an empty string; the words are for people, software sees a number.
What is wrong with controls fails the instruction with error 7, with the host state 8; with the guest state the entry
ends in a VM exit, reason 33 with bit 31 set. (SDM volume 3, "VM Entries": "Checks on VMX Controls and Host-State Area",
"Checking and Loading Guest State".)

The same fields give the same answer, so a VMCS that has passed is not read again from end to end: `passes_again` looks
at what moves between two entries. Where it is not content, the full checks say why.

A first set of the checks: every control this processor has, and the state that it uses. Two controls that silicon lets
be 0 are fixed to 1 in this processor's capability MSRs, HLT exiting and external-interrupt exiting: a guest can neither
halt nor take an interrupt here without its VMM.
"""

from __future__ import annotations

from typing import Final

from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE_PG,
    CR4_VMXE,
    EXCEPTIONS_WITH_ERROR_CODE,
    NO_LINK,
    RFLAGS_IF,
    RFLAGS_ONE,
    RFLAGS_RESERVED,
    Activity,
    EntryControl,
    ExitControl,
    Interruption,
    InterruptionType,
    PinControl,
    PrimaryControl,
    SecondaryControl,
    VmcsField,
)
from vafw.hw.vmx.ept import EptCapability, eptp_is_valid
from vafw.hw.vmx.vmcs import Vmcs

ALLOWED: Final = (
    (VmcsField.PIN_CONTROLS, PinControl.EXTERNAL_INTERRUPT_EXITING, sum(PinControl)),
    (VmcsField.PRIMARY_CONTROLS, PrimaryControl.HLT_EXITING | PrimaryControl.ACTIVATE_SECONDARY, sum(PrimaryControl)),
    (VmcsField.SECONDARY_CONTROLS, SecondaryControl.ENABLE_EPT, sum(SecondaryControl)),
    (VmcsField.EXIT_CONTROLS, ExitControl.HOST_ADDRESS_SPACE_SIZE, sum(ExitControl)),
    (VmcsField.ENTRY_CONTROLS, 0, sum(EntryControl)),
)
"""Each control field, the bits that must be 1 and the bits that may be (the capability MSRs' two halves)."""

_HOST_SELECTORS: Final = (
    VmcsField.HOST_ES_SELECTOR,
    VmcsField.HOST_CS_SELECTOR,
    VmcsField.HOST_SS_SELECTOR,
    VmcsField.HOST_DS_SELECTOR,
    VmcsField.HOST_FS_SELECTOR,
    VmcsField.HOST_GS_SELECTOR,
    VmcsField.HOST_TR_SELECTOR,
)

_VALID: Final = Interruption.VALID.mask
_TYPE: Final = Interruption.TYPE.mask
"""All zero: an external interrupt."""
_EXTERNAL_ONLY: Final = 0xFFFF_FFFF & ~Interruption.VECTOR.mask
"""Just VALID of these: an external interrupt, of which nothing but the vector is left to say."""
_SIGN_EXTENSIONS: Final = (0, (1 << 17) - 1)
"""Bits 63:47 of a canonical address."""


def controls_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    """What is wrong with the VM-execution, VM-exit and VM-entry control fields."""
    fields = vmcs.fields
    for field, must, may in ALLOWED:
        value = fields[field]
        if value & must != must or value & ~may:
            return f"{field.name} must have {int(must):#x} set and nothing but {int(may):#x}, not {value:#x}"
    secondary = fields[VmcsField.SECONDARY_CONTROLS]
    if secondary & SecondaryControl.ENABLE_VPID and not fields[VmcsField.VPID]:
        return "VPID must not be 0 where VPIDs are enabled"
    if not eptp_is_valid(fields[VmcsField.EPTP], capability):
        return f"EPTP must be well formed, not {fields[VmcsField.EPTP]:#x}"
    if fields[VmcsField.EXIT_MSR_STORE_COUNT] or fields[VmcsField.EXIT_MSR_LOAD_COUNT]:
        return "the VM-exit MSR lists must be empty on this processor"
    if fields[VmcsField.ENTRY_MSR_LOAD_COUNT]:
        return "the VM-entry MSR list must be empty on this processor"
    return _injection_fault(vmcs)


def _injection_fault(vmcs: Vmcs) -> str:
    """What is wrong with the event to inject (SDM, "VM-Entry Control Fields")."""
    fields = vmcs.fields
    information = fields[VmcsField.ENTRY_INTERRUPTION]
    if not information & _VALID or information & _EXTERNAL_ONLY == _VALID:
        return ""
    vector, kind = Interruption.VECTOR.get(information), Interruption.TYPE.get(information)
    if information & Interruption.RESERVED.mask or kind in (InterruptionType.RESERVED, InterruptionType.OTHER):
        return f"the event to inject must be of a known type with reserved bits 0, not {information:#x}"
    if kind == InterruptionType.NMI and vector != 2:
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


def host_fault(vmcs: Vmcs) -> str:
    """What is wrong with the host-state area."""
    fields = vmcs.fields
    if fields[VmcsField.HOST_CR0] & (CR0_FIXED | CR0_PE_PG) != CR0_FIXED | CR0_PE_PG:
        return f"host CR0 must have PG, NE and PE set, not {fields[VmcsField.HOST_CR0]:#x}"
    if not fields[VmcsField.HOST_CR4] & CR4_VMXE:
        return "host CR4.VMXE must be 1"
    if any(fields[each] & 7 for each in _HOST_SELECTORS):
        return "host selectors must have TI and RPL 0"
    if not fields[VmcsField.HOST_CS_SELECTOR] or not fields[VmcsField.HOST_TR_SELECTOR]:
        return "host CS and TR must not be 0"
    if not _canonical(fields[VmcsField.HOST_RIP]):
        return f"host RIP must be canonical, not {fields[VmcsField.HOST_RIP]:#x}"
    return ""


def guest_fault(vmcs: Vmcs) -> str:
    """What is wrong with the guest-state area, the link pointer aside."""
    fields = vmcs.fields
    unrestricted = fields[VmcsField.SECONDARY_CONTROLS] & SecondaryControl.UNRESTRICTED_GUEST
    fixed = CR0_FIXED if unrestricted else CR0_FIXED | CR0_PE_PG
    if fields[VmcsField.GUEST_CR0] & fixed != fixed:
        return f"guest CR0 must have {fixed:#x} set, not {fields[VmcsField.GUEST_CR0]:#x}"
    if not fields[VmcsField.GUEST_CR4] & CR4_VMXE:
        return "guest CR4.VMXE must be 1"
    return _moving_guest_fault(vmcs)


def _moving_guest_fault(vmcs: Vmcs) -> str:
    """What is wrong with the guest state that is another one at every entry."""
    fields = vmcs.fields
    rflags = fields[VmcsField.GUEST_RFLAGS]
    if not rflags & RFLAGS_ONE or rflags & RFLAGS_RESERVED:
        return f"guest RFLAGS must have bit 1 set and its reserved bits 0, not {rflags:#x}"
    information = fields[VmcsField.ENTRY_INTERRUPTION]
    injects = information & _VALID
    if injects and not information & _TYPE and not rflags & RFLAGS_IF:
        return "guest RFLAGS.IF must be 1 where an external interrupt is injected"
    activity = fields[VmcsField.GUEST_ACTIVITY]
    if activity > Activity.WAIT_FOR_SIPI:
        return f"the guest activity state must be 0 to 3, not {activity}"
    if injects and activity >= Activity.SHUTDOWN:
        return "no event may be injected into a guest in shutdown or waiting for SIPI"
    if fields[VmcsField.GUEST_RIP] >> 47 not in _SIGN_EXTENSIONS:
        return f"guest RIP must be canonical, not {fields[VmcsField.GUEST_RIP]:#x}"
    return ""


def passes_again(vmcs: Vmcs) -> bool:
    """Whether a vetted VMCS would pass every check again."""
    return vmcs.vetted and not _injection_fault(vmcs) and not _moving_guest_fault(vmcs)


def link_pointer_fault(vmcs: Vmcs) -> str:
    """What is wrong with the VMCS link pointer: this processor has no VMCS shadowing, so nothing may be linked."""
    if vmcs.fields[VmcsField.LINK_POINTER] == NO_LINK:
        return ""
    return f"the VMCS link pointer must be all ones, not {vmcs.fields[VmcsField.LINK_POINTER]:#x}"


def _canonical(address: int) -> bool:
    return address >> 47 in _SIGN_EXTENSIONS
