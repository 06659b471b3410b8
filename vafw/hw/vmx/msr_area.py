"""The MSR areas of a VMCS: registers that a VM entry loads and a VM exit stores, 16 bytes each.

Loading host registers at a VM exit is not in this processor: an entry with such a list fails its checks.
(SDM volume 3, "VM-Entry Controls for MSRs", "Loading MSRs", "Saving MSRs".)
"""

from __future__ import annotations

import struct
from typing import Final

from vafw.address import Hpa
from vafw.hw.vmx.bits import VmcsField
from vafw.hw.vmx.execution import Execution
from vafw.hw.vmx.instruction import read_msr, write_msr
from vafw.hw.vmx.msr import X2APIC

_ENTRY: Final = struct.Struct("<IIQ")
_NEVER: Final = frozenset({0xC000_0100, 0xC000_0101})
"""IA32_FS_BASE and IA32_GS_BASE, which the guest-state area loads."""


def load_msrs(run: Execution) -> int:
    """Load the VM-entry MSR-load area; returns the number of the first entry that cannot be loaded, from 1, or 0."""
    first = run.fields[VmcsField.ENTRY_MSR_LOAD]
    for number in range(run.fields[VmcsField.ENTRY_MSR_LOAD_COUNT]):
        index, reserved, value = _ENTRY.unpack(run.memory.read(Hpa(first + 16 * number), 16))
        if reserved or index in _NEVER or index in X2APIC or not write_msr(run, index, value):
            return number + 1
    return 0


def store_msrs(run: Execution) -> None:
    """Fill in the VM-exit MSR-store area; a register that there is not is stored as 0."""
    first = run.fields[VmcsField.EXIT_MSR_STORE]
    for number in range(run.fields[VmcsField.EXIT_MSR_STORE_COUNT]):
        place = Hpa(first + 16 * number)
        run.memory.write_u64(Hpa(place + 8), read_msr(run, run.memory.read_u32(place)) or 0)
