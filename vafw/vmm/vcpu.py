"""A virtual processor: one VMCS, filled in by VMWRITE, and the registers that no VMCS holds."""

from __future__ import annotations

from typing import Final, final

from vafw.address import PAGE_SIZE, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE_PG,
    CR4_PAE,
    CR4_VMXE,
    GENERAL_PROTECTION,
    NO_LINK,
    REVISION,
    RFLAGS_ONE,
    EntryControl,
    ExitControl,
    Interruption,
    InterruptionType,
    PinControl,
    PrimaryControl,
    SecondaryControl,
    SegmentRights,
    VmcsField,
)
from vafw.hw.vmx.execution import Registers
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vmx.guest import GuestProgram
from vafw.hw.vmx.processor import LogicalProcessor, VmFail
from vafw.hw.vmx.vmcs import blank_region
from vafw.vmm.refusal import VmmError

_ENTRY_POINT: Final = 0x1000
_HOST_CODE: Final = 0x08
_HOST_TASK: Final = 0x40
_REAL_MODE_LIMIT: Final = 0xFFFF
REAL_MODE_SEGMENTS: Final = (
    *((VmcsField[f"GUEST_{each}_LIMIT"], _REAL_MODE_LIMIT) for each in ("ES", "CS", "SS", "DS", "FS", "GS", "TR")),
    *((VmcsField[f"GUEST_{each}_RIGHTS"], 0x93) for each in ("ES", "SS", "DS", "FS", "GS")),
    (VmcsField.GUEST_CS_RIGHTS, 0x9B),
    (VmcsField.GUEST_TR_RIGHTS, 0x8B),
    (VmcsField.GUEST_LDTR_RIGHTS, SegmentRights.UNUSABLE.mask),
)
"""Segments as after INIT (SDM volume 3, "Processor State After Reset"), with a busy task-state segment."""
_INITIAL: Final = (
    (VmcsField.LINK_POINTER, NO_LINK),
    (VmcsField.PIN_CONTROLS, PinControl.DEFAULT1 | PinControl.EXTERNAL_INTERRUPT_EXITING),
    (
        VmcsField.PRIMARY_CONTROLS,
        PrimaryControl.DEFAULT1
        | PrimaryControl.HLT_EXITING
        | PrimaryControl.ACTIVATE_SECONDARY
        | PrimaryControl.USE_TSC_OFFSETTING
        | PrimaryControl.UNCONDITIONAL_IO_EXITING,
    ),
    (
        VmcsField.SECONDARY_CONTROLS,
        SecondaryControl.ENABLE_EPT | SecondaryControl.ENABLE_VPID | SecondaryControl.UNRESTRICTED_GUEST,
    ),
    (
        VmcsField.EXIT_CONTROLS,
        ExitControl.DEFAULT1 | ExitControl.HOST_ADDRESS_SPACE_SIZE | ExitControl.ACKNOWLEDGE_INTERRUPT,
    ),
    (VmcsField.ENTRY_CONTROLS, EntryControl.DEFAULT1),
    (VmcsField.HOST_CR0, CR0_FIXED | CR0_PE_PG),
    (VmcsField.HOST_CR4, CR4_VMXE | CR4_PAE),
    (VmcsField.HOST_CS_SELECTOR, _HOST_CODE),
    (VmcsField.HOST_TR_SELECTOR, _HOST_TASK),
    (VmcsField.HOST_RIP, _ENTRY_POINT),
    (VmcsField.GUEST_CR0, CR0_FIXED),
    (VmcsField.GUEST_CR4, CR4_VMXE),
    (VmcsField.CR0_MASK, CR0_FIXED),
    (VmcsField.CR4_MASK, CR4_VMXE),
    *REAL_MODE_SEGMENTS,
    (VmcsField.GUEST_RFLAGS, RFLAGS_ONE),
    (VmcsField.GUEST_RIP, _ENTRY_POINT),
)
"""Host state of this VMM, and a guest that starts in real mode at its entry point."""


class VmxFailure(VmmError):
    """A VMX instruction of the VMM failed, which is the VMM's own mistake."""


@final
class Vcpu:
    """One virtual processor of a VM, pinned to one logical processor."""

    def __init__(
        self, memory: PhysicalMemory, processor: LogicalProcessor, region: Hpa, *, vpid: int, eptp: int
    ) -> None:
        """`region` is a frame for the VMCS; `vpid` is not 0 and no other virtual processor's."""
        self.processor = processor
        self.region = region
        self.memory = memory
        self.vpid = vpid
        self.halted = False
        self.waiting_for_sipi = False
        self._registers = Registers()
        self._launched = False
        blank_region(memory, region, REVISION)
        _require(processor.vmclear(region))
        _require(processor.vmptrld(region))
        for field, value in (*_INITIAL, (VmcsField.VPID, vpid), (VmcsField.EPTP, eptp)):
            self.write(field, int(value))

    def read(self, field: VmcsField) -> int:
        """VMREAD; the VMCS must be current."""
        found = self.processor.vmread(field)
        if isinstance(found, VmFail):
            raise VmxFailure(f"VMREAD of {field.name} must succeed: {found}")
        return found

    def write(self, field: VmcsField, value: int) -> None:
        """VMWRITE; the VMCS must be current."""
        failed = self.processor.vmwrite(field, value)
        if failed is not None:
            raise VmxFailure(f"VMWRITE of {field.name} must succeed: {failed}")

    def place(self, program: GuestProgram) -> None:
        """Put the guest's code where it starts."""
        self.processor.place(self.region, program)

    def load(self) -> None:
        """VMPTRLD: make the VMCS current on its processor."""
        if self.processor.vmptrst() != self.region:
            _require(self.processor.vmptrld(self.region))

    def enter(self) -> VmExit:
        """VMLAUNCH or VMRESUME with the guest's registers; returns at the VM exit. The VMCS must be current."""
        processor = self.processor
        processor.registers = self._registers
        left = processor.vmresume() if self._launched else processor.vmlaunch()
        if isinstance(left, VmFail):
            raise VmxFailure(f"a VM entry must succeed: {left}")
        self._launched = True
        self._registers = processor.registers
        return left

    @property
    def registers(self) -> Registers:
        """The guest's general-purpose registers."""
        return self._registers

    def skip_instruction(self, length: int) -> None:
        """The instruction that exited has been carried out for the guest."""
        self.write(VmcsField.GUEST_RIP, self.read(VmcsField.GUEST_RIP) + length)

    def inject_interrupt(self, vector: int) -> None:
        """Deliver an external interrupt at the next VM entry."""
        self.write(VmcsField.ENTRY_INTERRUPTION, Interruption.VALID.mask | vector)

    def inject_general_protection(self) -> None:
        """Deliver #GP(0) at the next VM entry."""
        self.write(VmcsField.ENTRY_ERROR_CODE, 0)
        information = Interruption.pack(
            VECTOR=GENERAL_PROTECTION, TYPE=InterruptionType.HARDWARE_EXCEPTION, ERROR_CODE=1, VALID=1
        )
        self.write(VmcsField.ENTRY_INTERRUPTION, information)

    def retire(self) -> None:
        """VMCLEAR, and leave nothing of the guest behind in the region."""
        _require(self.processor.vmclear(self.region))
        self.processor.remove(self.region)
        self.memory.clear(self.region, PAGE_SIZE)


def _require(failed: VmFail | None) -> None:
    if failed is not None:
        raise VmxFailure(f"a VMX instruction of the VMM must succeed: {failed}")
