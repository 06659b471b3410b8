"""The VMM's own linear addresses on a logical processor: its page tables at CR3, remembered in the TLB under VPID 0.

The VMM of this project works on physical addresses and has no tables; whoever wants to see what VM entries and exits do
to a VMM's own TLB entries gives it some. With VPIDs they survive, without they do not: a guest without a VPID is tagged
0 as well. (SDM volume 3, "Operations that Invalidate Cached Mappings": "VMX transitions".)
"""

from __future__ import annotations

from typing import Final, final

from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE_PG,
    CR0_WP,
    CR4_PAE,
    CR4_PGE,
    EFER_LMA,
    EFER_LME,
    EFER_NXE,
    VmcsField,
)
from vafw.hw.vmx.ept import AccessKind, EptCapability
from vafw.hw.vmx.guest_physical import GuestPhysical
from vafw.hw.vmx.paging import Outcome, Paging
from vafw.hw.vmx.tlb import NO_EPT, Tlb

VMM_VPID: Final = 0
"""The VPID of VMX root operation, and of a processor outside VMX operation."""


@final
class HostPaging:
    """Four levels of tables, without a second stage."""

    def __init__(self, memory: PhysicalMemory, capability: EptCapability, tlb: Tlb) -> None:
        """As after CR3 was loaded with 0."""
        second = GuestPhysical(memory, capability)
        self.count = second.count
        self._fields: dict[int, int] = {
            VmcsField.GUEST_CR0: CR0_FIXED | CR0_PE_PG | CR0_WP,
            VmcsField.GUEST_CR3: 0,
            VmcsField.GUEST_CR4: CR4_PAE | CR4_PGE,
        }
        self._paging = Paging(memory, capability, second)
        self._paging.efer = EFER_LMA | EFER_LME | EFER_NXE
        self._paging.bind(self._fields, tlb, VMM_VPID, NO_EPT)

    def load_cr3(self, value: int) -> None:
        """MOV to CR3: forgets what VPID 0 remembers, but for global pages."""
        self._paging.load_cr3(value)

    def invlpg(self, linear: int) -> None:
        """INVLPG."""
        self._paging.invlpg(linear)

    def translate(self, linear: int, kind: AccessKind = AccessKind.READ, *, user: bool = False) -> Outcome:
        """The physical address of one access, or its fault."""
        return self._paging.translate(linear, kind, user=user)
