"""The checks of a VM entry on the guest-state area: what is wrong ends the entry in a VM exit, reason 33.

(SDM volume 3, "Checks on the Guest State Area": control registers, debug registers and MSRs; segment registers;
descriptor-table registers; RIP and RFLAGS; non-register state.) Virtual-8086 guests and PAE paging are not in this
processor: RFLAGS.VM must be 0, and a guest that pages does it with four levels.
"""

from __future__ import annotations

from typing import Final

from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE,
    CR0_PE_PG,
    CR0_PG,
    CR0_RESERVED,
    CR4_PAE,
    CR4_PCIDE,
    CR4_SUPPORTED,
    CR4_VMXE,
    EFER_LMA,
    EFER_LME,
    EFER_SUPPORTED,
    NO_LINK,
    RFLAGS_IF,
    RFLAGS_ONE,
    RFLAGS_RESERVED,
    RFLAGS_VM,
    Activity,
    EntryControl,
    Interruptibility,
    Interruption,
    InterruptionType,
    PrimaryControl,
    SecondaryControl,
    SegmentRights,
    VmcsField,
)
from vafw.hw.vmx.entry_host import is_canonical, pat_is_valid
from vafw.hw.vmx.ept import EptCapability
from vafw.hw.vmx.vmcs import Vmcs

_VALID: Final = Interruption.VALID.mask
_TYPE: Final = Interruption.TYPE.mask
_CANONICAL: Final = (
    VmcsField.GUEST_FS_BASE,
    VmcsField.GUEST_GS_BASE,
    VmcsField.GUEST_TR_BASE,
    VmcsField.GUEST_GDTR_BASE,
    VmcsField.GUEST_IDTR_BASE,
    VmcsField.GUEST_SYSENTER_ESP,
    VmcsField.GUEST_SYSENTER_EIP,
)
_DATA: Final = ("ES", "SS", "DS", "FS", "GS")
_LOW_BASES: Final = frozenset({"ES", "CS", "SS", "DS"})
_DEBUGCTL_SUPPORTED: Final = 0x1DFC3
_BLOCKING: Final = Interruptibility.BLOCKING_BY_STI | Interruptibility.BLOCKING_BY_MOV_SS


def guest_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    """What is wrong with the guest-state area, the link pointer aside."""
    fields = vmcs.fields
    return (
        _control_register_fault(fields, capability)
        or _msr_fault(fields)
        or _segment_faults(fields)
        or _table_register_fault(fields)
        or moving_guest_fault(vmcs)
    )


def moving_guest_fault(vmcs: Vmcs) -> str:
    """What is wrong with the guest state that is another one at every entry."""
    fields = vmcs.fields
    rflags = fields[VmcsField.GUEST_RFLAGS]
    if not rflags & RFLAGS_ONE or rflags & RFLAGS_RESERVED:
        return f"guest RFLAGS must have bit 1 set and its reserved bits 0, not {rflags:#x}"
    if rflags & RFLAGS_VM:
        return "guest RFLAGS.VM must be 0 on this processor"
    information = fields[VmcsField.ENTRY_INTERRUPTION]
    injects = information & _VALID
    if injects and not information & _TYPE and not rflags & RFLAGS_IF:
        return "guest RFLAGS.IF must be 1 where an external interrupt is injected"
    activity = fields[VmcsField.GUEST_ACTIVITY]
    if activity > Activity.WAIT_FOR_SIPI:
        return f"the guest activity state must be 0 to 3, not {activity}"
    if injects and activity >= Activity.SHUTDOWN:
        return "no event may be injected into a guest in shutdown or waiting for SIPI"
    if not is_canonical(fields[VmcsField.GUEST_RIP]):
        return f"guest RIP must be canonical, not {fields[VmcsField.GUEST_RIP]:#x}"
    if fields[VmcsField.GUEST_INTERRUPTIBILITY]:
        return _interruptibility_fault(fields)
    return ""


def link_pointer_fault(vmcs: Vmcs) -> str:
    """What is wrong with the VMCS link pointer: this processor has no VMCS shadowing, so nothing may be linked."""
    if vmcs.fields[VmcsField.LINK_POINTER] == NO_LINK:
        return ""
    return f"the VMCS link pointer must be all ones, not {vmcs.fields[VmcsField.LINK_POINTER]:#x}"


def _unrestricted(fields: dict[int, int]) -> bool:
    return bool(
        fields[VmcsField.PRIMARY_CONTROLS] & PrimaryControl.ACTIVATE_SECONDARY
        and fields[VmcsField.SECONDARY_CONTROLS] & SecondaryControl.UNRESTRICTED_GUEST
    )


def _ia32e(fields: dict[int, int]) -> bool:
    return bool(fields[VmcsField.ENTRY_CONTROLS] & EntryControl.IA32E_GUEST)


def _control_register_fault(fields: dict[int, int], capability: EptCapability) -> str:
    cr0, cr4 = fields[VmcsField.GUEST_CR0], fields[VmcsField.GUEST_CR4]
    fixed = CR0_FIXED if _unrestricted(fields) else CR0_FIXED | CR0_PE_PG
    if cr0 & fixed != fixed or cr0 & CR0_RESERVED:
        return f"guest CR0 must have {fixed:#x} set and no reserved bit, not {cr0:#x}"
    if cr0 & CR0_PG and not cr0 & CR0_PE:
        return f"guest CR0.PE must be 1 where PG is, but CR0 is {cr0:#x}"
    if not cr4 & CR4_VMXE or cr4 & ~CR4_SUPPORTED:
        return f"guest CR4 must have VMXE set and no reserved bit, not {cr4:#x}"
    if _ia32e(fields) != bool(cr0 & CR0_PG):
        return "a guest must page exactly where it is an IA-32e mode guest on this processor"
    if _ia32e(fields) and not cr4 & CR4_PAE:
        return "guest CR4.PAE must be 1 in IA-32e mode"
    if cr4 & CR4_PCIDE and not _ia32e(fields):
        return "guest CR4.PCIDE must be 0 outside IA-32e mode"
    if fields[VmcsField.GUEST_CR3] >> capability.physical_bits:
        return f"guest CR3 must be inside the physical width, not {fields[VmcsField.GUEST_CR3]:#x}"
    return ""


def _msr_fault(fields: dict[int, int]) -> str:
    """DEBUGCTL, DR7, PAT and EFER where the entry loads them."""
    controls = fields[VmcsField.ENTRY_CONTROLS]
    if controls & EntryControl.LOAD_DEBUG_CONTROLS:
        if fields[VmcsField.GUEST_DEBUGCTL] & ~_DEBUGCTL_SUPPORTED:
            return f"guest DEBUGCTL must have its reserved bits 0, not {fields[VmcsField.GUEST_DEBUGCTL]:#x}"
        if fields[VmcsField.GUEST_DR7] >> 32:
            return f"bits 63:32 of guest DR7 must be 0, not {fields[VmcsField.GUEST_DR7]:#x}"
    if controls & EntryControl.LOAD_PAT and not pat_is_valid(fields[VmcsField.GUEST_PAT]):
        return f"guest PAT must hold memory types, not {fields[VmcsField.GUEST_PAT]:#x}"
    if controls & EntryControl.LOAD_EFER:
        efer = fields[VmcsField.GUEST_EFER]
        if efer & ~EFER_SUPPORTED or bool(efer & EFER_LMA) != _ia32e(fields):
            return f"guest EFER must have no reserved bit, and LMA as the entry controls say, not {efer:#x}"
        if fields[VmcsField.GUEST_CR0] & CR0_PG and bool(efer & EFER_LMA) != bool(efer & EFER_LME):
            return f"guest EFER.LMA and LME must be equal where the guest pages, not {efer:#x}"
    return ""


def _table_register_fault(fields: dict[int, int]) -> str:
    for field in _CANONICAL:
        if not is_canonical(fields[field]):
            return f"{field.name} must be canonical, not {fields[field]:#x}"
    for field in (VmcsField.GUEST_GDTR_LIMIT, VmcsField.GUEST_IDTR_LIMIT):
        if fields[field] >> 16:
            return f"bits 31:16 of {field.name} must be 0, not {fields[field]:#x}"
    return ""


def _segment_faults(fields: dict[int, int]) -> str:
    unrestricted = _unrestricted(fields)
    for name in (*_DATA, "CS"):
        rights = fields[VmcsField[f"GUEST_{name}_RIGHTS"]]
        if name != "CS" and rights & SegmentRights.UNUSABLE.mask:
            continue
        if name in _LOW_BASES and fields[VmcsField[f"GUEST_{name}_BASE"]] >> 32:
            return f"bits 63:32 of guest {name} base must be 0"
        if wrong := _code_or_data_fault(name, rights, unrestricted) or _common_fault(name, fields):
            return wrong
    selectors = fields[VmcsField.GUEST_SS_SELECTOR] ^ fields[VmcsField.GUEST_CS_SELECTOR]
    if not unrestricted and selectors & 3:
        return "guest SS.RPL must equal CS.RPL unless the guest is unrestricted"
    return _system_segment_fault(fields)


def _code_or_data_fault(name: str, rights: int, unrestricted: bool) -> str:
    """Type, S and DPL of CS and the data segments."""
    kind = SegmentRights.TYPE.get(rights)
    if name == "CS":
        types: tuple[int, ...] = (3, 9, 11, 13, 15) if unrestricted else (9, 11, 13, 15)
        if rights & SegmentRights.L.mask and rights & SegmentRights.DB.mask:
            return "guest CS must not have both L and D set"
    elif name == "SS":
        types = (3, 7)
    else:
        types = (1, 3, 5, 7, 11, 15)
    if kind not in types:
        return f"guest {name} must be of a type among {', '.join(map(str, types))}, not {kind}"
    return "" if rights & SegmentRights.S.mask else f"guest {name} must be a code or data segment"


def _common_fault(name: str, fields: dict[int, int]) -> str:
    """P, reserved bits, and G against the limit."""
    rights = fields[VmcsField[f"GUEST_{name}_RIGHTS"]]
    limit = fields[VmcsField[f"GUEST_{name}_LIMIT"]]
    if not rights & SegmentRights.P.mask:
        return f"guest {name} must be present"
    if rights & (SegmentRights.RESERVED.mask | SegmentRights.RESERVED_HIGH.mask):
        return f"the reserved bits of guest {name}'s access rights must be 0, not {rights:#x}"
    granular = rights & SegmentRights.G.mask
    if (limit & 0xFFF != 0xFFF and granular) or (limit >> 20 and not granular):
        return f"guest {name}'s granularity must agree with its limit {limit:#x}"
    return ""


def _system_segment_fault(fields: dict[int, int]) -> str:
    """TR and LDTR."""
    task = fields[VmcsField.GUEST_TR_RIGHTS]
    types = (11,) if _ia32e(fields) else (3, 11)
    if task & SegmentRights.UNUSABLE.mask or task & SegmentRights.S.mask or SegmentRights.TYPE.get(task) not in types:
        return f"guest TR must be a busy task-state segment, not {task:#x}"
    if fields[VmcsField.GUEST_TR_SELECTOR] & 4:
        return "guest TR.TI must be 0"
    if wrong := _common_fault("TR", fields):
        return wrong
    local = fields[VmcsField.GUEST_LDTR_RIGHTS]
    if local & SegmentRights.UNUSABLE.mask:
        return ""
    if local & SegmentRights.S.mask or SegmentRights.TYPE.get(local) != 2:
        return f"guest LDTR must be a local descriptor table, not {local:#x}"
    if fields[VmcsField.GUEST_LDTR_SELECTOR] & 4:
        return "guest LDTR.TI must be 0"
    if not is_canonical(fields[VmcsField.GUEST_LDTR_BASE]):
        return f"guest LDTR base must be canonical, not {fields[VmcsField.GUEST_LDTR_BASE]:#x}"
    return _common_fault("LDTR", fields)


def _interruptibility_fault(fields: dict[int, int]) -> str:
    """The interruptibility state against RFLAGS, activity and the event to inject."""
    state = fields[VmcsField.GUEST_INTERRUPTIBILITY]
    if state & ~sum(Interruptibility):
        return f"the reserved bits of the interruptibility state must be 0, not {state:#x}"
    if state & _BLOCKING == _BLOCKING:
        return "a guest must not be blocked by STI and by MOV SS at once"
    if state & Interruptibility.BLOCKING_BY_STI and not fields[VmcsField.GUEST_RFLAGS] & RFLAGS_IF:
        return "guest RFLAGS.IF must be 1 where STI blocks"
    if state & Interruptibility.BLOCKING_BY_SMI:
        return "a guest must not be blocked by SMI outside SMM"
    if state & _BLOCKING and fields[VmcsField.GUEST_ACTIVITY] != Activity.ACTIVE:
        return "a guest that STI or MOV SS blocks must be active"
    information = fields[VmcsField.ENTRY_INTERRUPTION]
    if not information & _VALID:
        return ""
    kind = Interruption.TYPE.get(information)
    if kind == InterruptionType.EXTERNAL and state & _BLOCKING:
        return "no external interrupt may be injected where STI or MOV SS blocks"
    if kind == InterruptionType.NMI and state & Interruptibility.BLOCKING_BY_MOV_SS:
        return "no NMI may be injected where MOV SS blocks"
    return ""
