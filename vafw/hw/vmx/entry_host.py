"""The checks of a VM entry on the host-state area: what is wrong fails the instruction with error 8.

(SDM volume 3, "Checks on Host Control Registers, MSRs, and SSP", "Checks on Host Segment and Descriptor-Table
Registers", "Checks Related to Address-Space Size".)
"""

from __future__ import annotations

from typing import Final

from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE_PG,
    CR0_RESERVED,
    CR4_PAE,
    CR4_SUPPORTED,
    CR4_VMXE,
    EFER_LMA,
    EFER_LME,
    EFER_SUPPORTED,
    ExitControl,
    VmcsField,
)
from vafw.hw.vmx.ept import EptCapability
from vafw.hw.vmx.vmcs import Vmcs

_SELECTORS: Final = (
    VmcsField.HOST_ES_SELECTOR,
    VmcsField.HOST_CS_SELECTOR,
    VmcsField.HOST_SS_SELECTOR,
    VmcsField.HOST_DS_SELECTOR,
    VmcsField.HOST_FS_SELECTOR,
    VmcsField.HOST_GS_SELECTOR,
    VmcsField.HOST_TR_SELECTOR,
)
_CANONICAL: Final = (
    VmcsField.HOST_RIP,
    VmcsField.HOST_FS_BASE,
    VmcsField.HOST_GS_BASE,
    VmcsField.HOST_TR_BASE,
    VmcsField.HOST_GDTR_BASE,
    VmcsField.HOST_IDTR_BASE,
    VmcsField.HOST_SYSENTER_ESP,
    VmcsField.HOST_SYSENTER_EIP,
)
_PAT_TYPES: Final = frozenset({0, 1, 4, 5, 6, 7})
_SIGN_EXTENSIONS: Final = (0, (1 << 17) - 1)
"""Bits 63:47 of a canonical address."""


def host_fault(vmcs: Vmcs, capability: EptCapability) -> str:
    """What is wrong with the host-state area."""
    fields = vmcs.fields
    cr0, cr4 = fields[VmcsField.HOST_CR0], fields[VmcsField.HOST_CR4]
    if cr0 & (CR0_FIXED | CR0_PE_PG) != CR0_FIXED | CR0_PE_PG or cr0 & CR0_RESERVED:
        return f"host CR0 must have PG, NE and PE set and no reserved bit, not {cr0:#x}"
    if not cr4 & CR4_VMXE or cr4 & ~CR4_SUPPORTED:
        return f"host CR4 must have VMXE set and no reserved bit, not {cr4:#x}"
    if not cr4 & CR4_PAE:
        return f"host CR4.PAE must be 1 for a 64-bit host, but CR4 is {cr4:#x}"
    if fields[VmcsField.HOST_CR3] >> capability.physical_bits:
        return f"host CR3 must be inside the physical width, not {fields[VmcsField.HOST_CR3]:#x}"
    for field in _CANONICAL:
        if not is_canonical(fields[field]):
            return f"{field.name} must be canonical, not {fields[field]:#x}"
    if any(fields[each] & 7 for each in _SELECTORS):
        return "host selectors must have TI and RPL 0"
    if not fields[VmcsField.HOST_CS_SELECTOR] or not fields[VmcsField.HOST_TR_SELECTOR]:
        return "host CS and TR must not be 0"
    return _loaded_msr_fault(fields)


def _loaded_msr_fault(fields: dict[int, int]) -> str:
    """PAT and EFER, where the VM exit loads them."""
    controls = fields[VmcsField.EXIT_CONTROLS]
    if controls & ExitControl.LOAD_PAT and not pat_is_valid(fields[VmcsField.HOST_PAT]):
        return f"host PAT must hold memory types, not {fields[VmcsField.HOST_PAT]:#x}"
    efer = fields[VmcsField.HOST_EFER]
    long_mode = EFER_LMA | EFER_LME
    if controls & ExitControl.LOAD_EFER and (efer & ~EFER_SUPPORTED or efer & long_mode != long_mode):
        return f"host EFER must have LMA and LME set and no reserved bit, not {efer:#x}"
    return ""


def pat_is_valid(pat: int) -> bool:
    """Whether every byte of IA32_PAT is a memory type."""
    return all(each in _PAT_TYPES for each in pat.to_bytes(8, "little"))


def is_canonical(address: int) -> bool:
    """Whether bits 63:47 are all the same."""
    return address >> 47 in _SIGN_EXTENSIONS
