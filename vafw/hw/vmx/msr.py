"""Model-specific registers: the capability MSRs that VMX software reads first, and those that a guest may touch.

A register that the VMCS has a field for is that field while the guest runs. The others are the logical processor's own:
guest and host share them unless the VM-entry MSR-load and VM-exit MSR-store areas switch them, as on silicon.
(SDM volume 3, appendix "VMX Capability Reporting Facility"; volume 4 for the numbers.)
"""

from __future__ import annotations

from typing import Final

from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE_PG,
    CR0_RESERVED,
    CR4_SUPPORTED,
    CR4_VMXE,
    REVISION,
    VMCS_BYTES,
    Encoding,
    VmcsField,
)
from vafw.hw.vmx.entry import ALLOWED, CR3_TARGETS
from vafw.hw.vmx.entry_host import is_canonical, pat_is_valid
from vafw.hw.vmx.ept import EptCapability

FEATURE_CONTROL: Final = 0x3A
FEATURE_LOCK, FEATURE_VMX_IN_SMX, FEATURE_VMX = 1 << 0, 1 << 1, 1 << 2
TSC: Final = 0x10
PAT: Final = 0x277
EFER: Final = 0xC000_0080
X2APIC: Final = range(0x800, 0x900)
_BASIC, _PIN, _PRIMARY, _EXIT, _ENTRY, _MISC = 0x480, 0x481, 0x482, 0x483, 0x484, 0x485
_CR0_0, _CR0_1, _CR4_0, _CR4_1, _ENUM, _SECONDARY, _EPT_VPID = range(0x486, 0x48D)
_TRUE_PIN, _TRUE_PRIMARY, _TRUE_EXIT, _TRUE_ENTRY = range(0x48D, 0x491)
_WRITE_BACK: Final = 6

FIELD_OF: Final = {
    0x174: VmcsField.GUEST_SYSENTER_CS,
    0x175: VmcsField.GUEST_SYSENTER_ESP,
    0x176: VmcsField.GUEST_SYSENTER_EIP,
    PAT: VmcsField.GUEST_PAT,
    0xC000_0100: VmcsField.GUEST_FS_BASE,
    0xC000_0101: VmcsField.GUEST_GS_BASE,
}
"""Registers whose value while a guest runs is a field of its VMCS."""
SHARED: Final = frozenset({0xC000_0081, 0xC000_0082, 0xC000_0083, 0xC000_0084, 0xC000_0102, 0xC000_0103})
"""STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE and TSC_AUX: the processor's own, whoever runs."""
_ADDRESSES: Final = frozenset({0x175, 0x176, 0xC000_0082, 0xC000_0083, 0xC000_0100, 0xC000_0101, 0xC000_0102})


def capability_msr(index: int, capability: EptCapability) -> int | None:
    """A VMX capability MSR, 0x480 to 0x490; None for any other number."""
    pin, primary, secondary, leave, enter = (_allowed(must, may) for _, must, may in ALLOWED)
    highest = max(Encoding.INDEX.get(each) for each in VmcsField)
    ept = 1 << 6 | 1 << 8 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21 | 3 << 25 | 1 << 32 | 0xF << 40
    known = {
        _BASIC: REVISION | VMCS_BYTES << 32 | _WRITE_BACK << 50 | 1 << 54 | 1 << 55,
        _PIN: pin,
        _PRIMARY: primary | 3 << 15,
        _EXIT: leave | 1 << 2,
        _ENTRY: enter | 1 << 2,
        _MISC: CR3_TARGETS << 16 | 1 << 6,
        _CR0_0: CR0_FIXED | CR0_PE_PG,
        _CR0_1: ~CR0_RESERVED & 0xFFFF_FFFF,
        _CR4_0: CR4_VMXE,
        _CR4_1: CR4_SUPPORTED,
        _ENUM: highest << 1,
        _SECONDARY: secondary,
        _EPT_VPID: ept | int(capability.execute_only),
        _TRUE_PIN: pin,
        _TRUE_PRIMARY: primary,
        _TRUE_EXIT: leave,
        _TRUE_ENTRY: enter,
    }
    return known.get(index)


def is_valid(index: int, value: int) -> bool:
    """Whether WRMSR accepts the value, reserved bits and canonical addresses considered."""
    if index == PAT:
        return pat_is_valid(value)
    return index not in _ADDRESSES or is_canonical(value)


def _allowed(must: int, may: int) -> int:
    """Bits that must be 1 in the low half, bits that may be in the high one."""
    return must | may << 32
