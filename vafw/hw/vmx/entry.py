"""The checks of a VM entry, in the manual's order: controls, host state, guest state.

Each check returns what is wrong in a few words, or an empty string; the words are for people, software sees a number.
What is wrong with controls fails the instruction with error 7, with the host state 8; with the guest state the entry
ends in a VM exit, reason 33 with bit 31 set. (SDM volume 3, "VM Entries": "Checks on VMX Controls and Host-State Area",
"Checking and Loading Guest State".)

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
    (
        VmcsField.PRIMARY_CONTROLS,
        PrimaryControl.HLT_EXITING | PrimaryControl.ACTIVATE_SECONDARY,
        sum(PrimaryControl),
    ),
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


def controls_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    """What is wrong with the VM-execution, VM-exit and VM-entry control fields."""
    for field, must, may in ALLOWED:
        value = vmcs[field]
        if value & must != must or value & ~may:
            return f"{field.name} must have {int(must):#x} set and nothing but {int(may):#x}, not {value:#x}"
    secondary = vmcs[VmcsField.SECONDARY_CONTROLS]
    if secondary & SecondaryControl.ENABLE_VPID and not vmcs[VmcsField.VPID]:
        return "VPID must not be 0 where VPIDs are enabled"
    if not eptp_is_valid(vmcs[VmcsField.EPTP], capability):
        return f"EPTP must be well formed, not {vmcs[VmcsField.EPTP]:#x}"
    if vmcs[VmcsField.EXIT_MSR_STORE_COUNT] or vmcs[VmcsField.EXIT_MSR_LOAD_COUNT]:
        return "the VM-exit MSR lists must be empty on this processor"
    if vmcs[VmcsField.ENTRY_MSR_LOAD_COUNT]:
        return "the VM-entry MSR list must be empty on this processor"
    return _injection_fault(vmcs)


def _injection_fault(vmcs: Vmcs) -> str:
    """What is wrong with the event to inject (SDM, "VM-Entry Control Fields")."""
    information = vmcs[VmcsField.ENTRY_INTERRUPTION]
    if not information & Interruption.VALID.mask:
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
    if delivers and vmcs[VmcsField.ENTRY_ERROR_CODE] >> 15:
        return "bits 31:15 of the error code to inject must be 0"
    if kind >= InterruptionType.SOFTWARE_INTERRUPT and not 1 <= vmcs[VmcsField.ENTRY_INSTRUCTION_LENGTH] <= 15:
        return "a software event must be injected with an instruction length from 1 to 15"
    return ""


def host_fault(vmcs: Vmcs) -> str:
    """What is wrong with the host-state area."""
    if vmcs[VmcsField.HOST_CR0] & (CR0_FIXED | CR0_PE_PG) != CR0_FIXED | CR0_PE_PG:
        return f"host CR0 must have PG, NE and PE set, not {vmcs[VmcsField.HOST_CR0]:#x}"
    if not vmcs[VmcsField.HOST_CR4] & CR4_VMXE:
        return "host CR4.VMXE must be 1"
    if any(vmcs[each] & 7 for each in _HOST_SELECTORS):
        return "host selectors must have TI and RPL 0"
    if not vmcs[VmcsField.HOST_CS_SELECTOR] or not vmcs[VmcsField.HOST_TR_SELECTOR]:
        return "host CS and TR must not be 0"
    if not _canonical(vmcs[VmcsField.HOST_RIP]):
        return f"host RIP must be canonical, not {vmcs[VmcsField.HOST_RIP]:#x}"
    return ""


def guest_fault(vmcs: Vmcs) -> str:
    """What is wrong with the guest-state area, the link pointer aside."""
    unrestricted = vmcs[VmcsField.SECONDARY_CONTROLS] & SecondaryControl.UNRESTRICTED_GUEST
    fixed = CR0_FIXED if unrestricted else CR0_FIXED | CR0_PE_PG
    if vmcs[VmcsField.GUEST_CR0] & fixed != fixed:
        return f"guest CR0 must have {fixed:#x} set, not {vmcs[VmcsField.GUEST_CR0]:#x}"
    if not vmcs[VmcsField.GUEST_CR4] & CR4_VMXE:
        return "guest CR4.VMXE must be 1"
    rflags = vmcs[VmcsField.GUEST_RFLAGS]
    if not rflags & RFLAGS_ONE or rflags & RFLAGS_RESERVED:
        return f"guest RFLAGS must have bit 1 set and its reserved bits 0, not {rflags:#x}"
    information = vmcs[VmcsField.ENTRY_INTERRUPTION]
    injects = information & Interruption.VALID.mask
    external = Interruption.TYPE.get(information) == InterruptionType.EXTERNAL
    if injects and external and not rflags & RFLAGS_IF:
        return "guest RFLAGS.IF must be 1 where an external interrupt is injected"
    if vmcs[VmcsField.GUEST_ACTIVITY] > Activity.WAIT_FOR_SIPI:
        return f"the guest activity state must be 0 to 3, not {vmcs[VmcsField.GUEST_ACTIVITY]}"
    if injects and vmcs[VmcsField.GUEST_ACTIVITY] >= Activity.SHUTDOWN:
        return "no event may be injected into a guest in shutdown or waiting for SIPI"
    if not _canonical(vmcs[VmcsField.GUEST_RIP]):
        return f"guest RIP must be canonical, not {vmcs[VmcsField.GUEST_RIP]:#x}"
    return ""


def link_pointer_fault(vmcs: Vmcs) -> str:
    """What is wrong with the VMCS link pointer: this processor has no VMCS shadowing, so nothing may be linked."""
    if vmcs[VmcsField.LINK_POINTER] == NO_LINK:
        return ""
    return f"the VMCS link pointer must be all ones, not {vmcs[VmcsField.LINK_POINTER]:#x}"


def _canonical(address: int) -> bool:
    return address >> 47 in (0, (1 << 17) - 1)
