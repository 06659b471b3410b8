"""A logical processor with VMX: the VMX instructions of its VMM, VM entries, and VM exits.

Software of the host calls the instructions as methods. An instruction that fails gives a `VmFail`: without a number it
is VMfailInvalid (CF), with one VMfailValid (ZF, and the number in the current VMCS). VMLAUNCH and VMRESUME return when
the guest has left again, with the `VmExit` that the VMCS describes too. What the guest does in between is `execution`.

A guest's code is a generator that the model places at a VMCS with `place`, where silicon finds bytes at RIP. RIP is
kept honest all the same: it stands at the operation that caused the exit, and only a VMM that advances it by the
instruction length lets the guest go on; one that does not has the operation executed again.

The hard part is an entry's order: controls, host state, guest state, the MSR-load area, the caches that have no VPID to
tell guests apart by, and then the event to inject. (SDM volume 3, "VMX Instruction Reference", "VM Entries".)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, final

from vafw.address import Hpa
from vafw.errors import VafwError
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import (
    CR0_FIXED,
    CR0_PE_PG,
    CR4_PAE,
    CR4_VMXE,
    LINK_POINTER_INVALID,
    REVISION,
    VMCS_BYTES,
    ExitControl,
    ExitReason,
    PrimaryControl,
    SecondaryControl,
    VmcsField,
    VmError,
)
from vafw.hw.vmx.entry import controls_fault, passes_again, secondary_controls
from vafw.hw.vmx.entry_guest import guest_fault, link_pointer_fault
from vafw.hw.vmx.entry_host import host_fault, is_canonical
from vafw.hw.vmx.ept import EptCapability, eptp_is_valid
from vafw.hw.vmx.execution import Execution, ProcessorState, Registers
from vafw.hw.vmx.exit import VmExit, record
from vafw.hw.vmx.guest import GuestContext, GuestCpu, GuestProgram
from vafw.hw.vmx.host_paging import HostPaging
from vafw.hw.vmx.msr import FEATURE_CONTROL, FEATURE_LOCK, FEATURE_VMX, capability_msr
from vafw.hw.vmx.msr_area import load_msrs, store_msrs
from vafw.hw.vmx.tlb import Tlb
from vafw.hw.vmx.translation import TranslationCache
from vafw.hw.vmx.vmcs import Vmcs, clear_region, revision_of

_U64: Final = 0xFFFF_FFFF_FFFF_FFFF
_TSC_OFFSETTING: Final = int(PrimaryControl.USE_TSC_OFFSETTING)
_ENABLE_EPT: Final = int(SecondaryControl.ENABLE_EPT)
_ENABLE_VPID: Final = int(SecondaryControl.ENABLE_VPID)
_SAVE_EFER: Final = int(ExitControl.SAVE_EFER)
_SAVE_TIMER: Final = int(ExitControl.SAVE_PREEMPTION_TIMER)
"""As integers: a flag's own operators cost more than the rest of a VM entry."""


class InvalidOpcode(VafwError):
    """#UD: a VMX instruction outside VMX operation, or VMXON where CR4.VMXE is 0."""


class GeneralProtection(VafwError):
    """#GP: VMXON where the control registers or IA32_FEATURE_CONTROL do not allow it."""


class InveptType(Enum):
    """INVEPT types."""

    SINGLE_CONTEXT = 1
    ALL_CONTEXT = 2


class InvvpidType(Enum):
    """INVVPID types."""

    INDIVIDUAL_ADDRESS = 0
    SINGLE_CONTEXT = 1
    ALL_CONTEXT = 2
    SINGLE_CONTEXT_RETAINING_GLOBALS = 3


@dataclass(frozen=True, slots=True)
class VmFail:
    """A VMX instruction failed; `error` None is VMfailInvalid."""

    error: VmError | None
    why: str = ""
    """For people; hardware says only the number."""

    def __str__(self) -> str:
        number = "VMfailInvalid" if self.error is None else f"VM-instruction error {self.error.value} {self.error.name}"
        return f"{number}: {self.why}" if self.why else number


@final
class LogicalProcessor:
    """One logical processor."""

    def __init__(self, memory: PhysicalMemory, number: int = 0, *, capability: EptCapability | None = None) -> None:
        """`number` is its APIC id. It is as firmware leaves it: paging, VMX enabled in IA32_FEATURE_CONTROL."""
        self.number = number
        self.state = ProcessorState()
        self.cr0 = CR0_FIXED | CR0_PE_PG
        self.cr4 = CR4_PAE
        self.feature_control = FEATURE_LOCK | FEATURE_VMX
        self.blocked_by_mov_ss = False
        """The instruction before was a MOV to SS."""
        self.tlb = Tlb()
        self.paging = HostPaging(memory, capability or EptCapability(), self.tlb)
        """The VMM's own page tables."""
        self._memory = memory
        self._capability = capability or EptCapability()
        self._vmxon_region: Hpa | None = None
        self._active: dict[Hpa, Vmcs] = {}
        self._current: Vmcs | None = None
        self.translations = TranslationCache(memory, self._capability)
        self._placed: dict[Hpa, GuestContext] = {}

    @property
    def registers(self) -> Registers:
        """The general-purpose registers, which VM entry and VM exit leave alone."""
        return self.state.registers

    @registers.setter
    def registers(self, registers: Registers) -> None:
        self.state.registers = registers

    @property
    def tsc(self) -> int:
        """The time-stamp counter, in nanoseconds; whoever has a clock moves it."""
        return self.state.tsc

    @tsc.setter
    def tsc(self, nanoseconds: int) -> None:
        self.state.tsc = nanoseconds

    def rdmsr(self, index: int) -> int:
        """IA32_FEATURE_CONTROL, and the VMX capability MSRs; GeneralProtection for a number that is neither."""
        value = self.feature_control if index == FEATURE_CONTROL else capability_msr(index, self._capability)
        if value is None:
            raise GeneralProtection(f"an MSR must be one that this processor has, not {index:#x}")
        return value

    # -- VMX instructions -------------------------------------------------------------------------------------

    def vmxon(self, region: Hpa) -> VmFail | None:
        """Enter VMX operation with a 4 KiB region that carries the revision identifier; InvalidOpcode, or #GP."""
        if not self.cr4 & CR4_VMXE:
            raise InvalidOpcode("CR4.VMXE must be 1 for VMXON")
        if self._vmxon_region is not None:
            return self._fail(VmError.VMXON_IN_ROOT)
        if self.cr0 & (CR0_FIXED | CR0_PE_PG) != CR0_FIXED | CR0_PE_PG:
            raise GeneralProtection(f"CR0 must have PG, NE and PE set for VMXON, not {self.cr0:#x}")
        if self.feature_control & (FEATURE_LOCK | FEATURE_VMX) != FEATURE_LOCK | FEATURE_VMX:
            raise GeneralProtection(
                f"IA32_FEATURE_CONTROL must be locked with VMX enabled for VMXON, not {self.feature_control:#x}"
            )
        if not self._region_ok(region) or revision_of(self._memory, region) != REVISION:
            return VmFail(None, f"the VMXON region must be aligned, in range and of revision {REVISION}")
        self._vmxon_region = region
        return None

    def vmxoff(self) -> None:
        """Leave VMX operation; active VMCSs that were not cleared are lost."""
        self._require_vmx()
        self._vmxon_region = None
        self._current = None
        self._active.clear()
        self.translations.invalidate_all()
        self.tlb.clear()

    def vmcall(self) -> VmFail:
        """VMCALL in VMX root operation, where this processor has no dual-monitor treatment to call."""
        self._require_vmx()
        return self._fail(VmError.VMCALL_IN_ROOT)

    def vmclear(self, region: Hpa) -> VmFail | None:
        """Write the VMCS back to its region, launch state clear; it is neither active nor current any more."""
        self._require_vmx()
        if not self._region_ok(region):
            return self._fail(VmError.VMCLEAR_INVALID_ADDRESS)
        if region == self._vmxon_region:
            return self._fail(VmError.VMCLEAR_VMXON_POINTER)
        if vmcs := self._active.pop(region, None):
            vmcs.launched = False
            vmcs.store(self._memory)
        else:
            clear_region(self._memory, region)
        if self._current is vmcs:
            self._current = None
        return None

    def vmptrld(self, region: Hpa) -> VmFail | None:
        """Make the VMCS active and current."""
        self._require_vmx()
        if not self._region_ok(region):
            return self._fail(VmError.VMPTRLD_INVALID_ADDRESS)
        if region == self._vmxon_region:
            return self._fail(VmError.VMPTRLD_VMXON_POINTER)
        if revision_of(self._memory, region) != REVISION:
            return self._fail(VmError.VMPTRLD_WRONG_REVISION)
        vmcs = self._active.get(region)
        if vmcs is None:
            vmcs = self._active[region] = Vmcs.load(self._memory, region)
        self._current = vmcs
        return None

    def vmptrst(self) -> int:
        """The current VMCS's region; all ones where there is none."""
        self._require_vmx()
        return self._current.region if self._current else _U64

    def vmread(self, encoding: int) -> int | VmFail:
        """A field of the current VMCS."""
        self._require_vmx()
        if self._current is None:
            return VmFail(None)
        found = self._current.read(encoding)
        return self._fail(found) if isinstance(found, VmError) else found

    def vmwrite(self, encoding: int, value: int) -> VmFail | None:
        """Set a field of the current VMCS."""
        self._require_vmx()
        if self._current is None:
            return VmFail(None)
        error = self._current.write(encoding, value)
        return None if error is None else self._fail(error)

    def invept(self, kind: InveptType, eptp: int = 0) -> VmFail | None:
        """Forget translations derived from one EPT pointer, or from all."""
        self._require_vmx()
        if kind is InveptType.ALL_CONTEXT:
            self.translations.invalidate_all()
            self.tlb.flush_ept()
        elif eptp_is_valid(eptp, self._capability):
            self.translations.invalidate(eptp)
            self.tlb.flush_ept(eptp >> 12)
        else:
            return self._fail(VmError.INVALID_OPERAND)
        return None

    def invvpid(self, kind: InvvpidType, vpid: int = 0, linear: int = 0) -> VmFail | None:
        """Forget linear addresses of one VPID, in whole or in part, or of all but the VMM's."""
        self._require_vmx()
        if kind is InvvpidType.ALL_CONTEXT:
            self.tlb.flush_guests()
            return None
        wrong = kind is InvvpidType.INDIVIDUAL_ADDRESS and not is_canonical(linear)
        if not 0 < vpid <= 0xFFFF or wrong:
            return self._fail(VmError.INVALID_OPERAND)
        if kind is InvvpidType.INDIVIDUAL_ADDRESS:
            self.tlb.drop(linear, vpid)
        else:
            self.tlb.flush(vpid, keep_global=kind is InvvpidType.SINGLE_CONTEXT_RETAINING_GLOBALS)
        return None

    def vmlaunch(self) -> VmExit | VmFail:
        """Enter the guest of the current VMCS for the first time; returns at its VM exit."""
        return self._enter(launch=True)

    def vmresume(self) -> VmExit | VmFail:
        """Enter the guest of the current VMCS again; returns at its VM exit."""
        return self._enter(launch=False)

    # -- what surrounds the processor -------------------------------------------------------------------------

    def place(self, region: Hpa, program: GuestProgram) -> None:
        """Put a guest's code where the VMCS at `region` will find it at its next VMLAUNCH."""
        self._placed[region] = GuestContext(GuestCpu(self._memory, self._capability), program)

    def remove(self, region: Hpa) -> None:
        """Take a guest's code away; an entry with that VMCS then ends in a triple fault."""
        self._placed.pop(region, None)

    def guest(self, region: Hpa) -> GuestCpu:
        """The processor as the code placed at `region` sees it; KeyError where there is none."""
        return self._placed[region].cpu

    def raise_interrupt(self, vector: int) -> None:
        """An external interrupt arrives at the local APIC."""
        self.state.interrupts.append(vector)

    def raise_nmi(self) -> None:
        """A non-maskable interrupt arrives."""
        self.state.nmi = True

    def acknowledge_interrupt(self) -> int | None:
        """The host takes the oldest interrupt that waits."""
        return self.state.interrupts.popleft() if self.state.interrupts else None

    # -- VM entry ---------------------------------------------------------------------------------------------

    def _enter(self, *, launch: bool) -> VmExit | VmFail:
        self._require_vmx()
        vmcs = self._current
        if vmcs is None:
            return VmFail(None)
        if self.blocked_by_mov_ss:
            return self._fail(VmError.ENTRY_BLOCKED_BY_MOV_SS)
        if launch and vmcs.launched:
            return self._fail(VmError.VMLAUNCH_NOT_CLEAR)
        if not launch and not vmcs.launched:
            return self._fail(VmError.VMRESUME_NOT_LAUNCHED)
        if not passes_again(vmcs) and (refused := self._check(vmcs)) is not None:
            return refused
        vmcs.vetted = True
        left = self._run(vmcs)
        vmcs.launched = vmcs.launched or not left.entry_failed
        return left

    def _check(self, vmcs: Vmcs) -> VmExit | VmFail | None:
        """Every check of a VM entry, in order."""
        if why := controls_fault(vmcs, self._capability):
            return self._fail(VmError.INVALID_CONTROLS, why)
        if why := host_fault(vmcs, self._capability):
            return self._fail(VmError.INVALID_HOST_STATE, why)
        if why := guest_fault(vmcs, self._capability):
            return _entry_failure(vmcs, ExitReason.INVALID_GUEST_STATE, 0, why)
        if why := link_pointer_fault(vmcs):
            return _entry_failure(vmcs, ExitReason.INVALID_GUEST_STATE, LINK_POINTER_INVALID, why)
        return None

    def _run(self, vmcs: Vmcs) -> VmExit:
        """From a VM entry that has passed its checks to the VM exit."""
        fields = vmcs.fields
        guest = self._placed.get(vmcs.region)
        if guest is None:
            return record(fields, VmExit(ExitReason.TRIPLE_FAULT, detail="there is no code at RIP"))
        vpid = self._bind(vmcs, guest)
        run = Execution(self.state, self._memory, fields, guest)
        if fields[VmcsField.ENTRY_MSR_LOAD_COUNT] and (wrong := load_msrs(run)):
            why = f"entry {wrong} of the VM-entry MSR-load area must name a register that can be loaded so"
            return _entry_failure(vmcs, ExitReason.MSR_LOADING, wrong, why)
        left = record(fields, run.run())
        self._leave(run, vpid)
        return left

    def _bind(self, vmcs: Vmcs, guest: GuestContext) -> int:
        """Give the guest its tables, its caches and its clock; returns the VPID that its entries are tagged with."""
        fields, secondary = vmcs.fields, secondary_controls(vmcs)
        vpid = fields[VmcsField.VPID] if secondary & _ENABLE_VPID else 0
        if not vpid and len(self.tlb):
            self.tlb.flush(0)
        guest.cpu.paging.load_efer(fields)
        offset = fields[VmcsField.TSC_OFFSET] if fields[VmcsField.PRIMARY_CONTROLS] & _TSC_OFFSETTING else 0
        tsc = self.state.tsc + offset & _U64
        if secondary & _ENABLE_EPT:
            eptp = fields[VmcsField.EPTP]
            remembered = self.translations.tagged(eptp), self.translations.structures(eptp)
            guest.cpu.second.bind(eptp, *remembered)
        else:
            guest.cpu.second.bind(None, self.translations.none, None)
        guest.cpu.bind(fields, self.tlb, vpid, tsc)
        return vpid

    def _leave(self, run: Execution, vpid: int) -> None:
        """What a VM exit saves, and what it has to forget."""
        fields, controls = run.fields, run.fields[VmcsField.EXIT_CONTROLS]
        if controls & _SAVE_EFER:
            fields[VmcsField.GUEST_EFER] = run.guest.cpu.paging.efer
        if fields[VmcsField.EXIT_MSR_STORE_COUNT]:
            store_msrs(run)
        if run.timer_from is not None and not controls & _SAVE_TIMER:
            fields[VmcsField.PREEMPTION_TIMER] = run.timer_from
        if not vpid and len(self.tlb):
            self.tlb.flush(0)

    # -- machinery --------------------------------------------------------------------------------------------

    def _region_ok(self, region: int) -> bool:
        return not region % VMCS_BYTES and not region >> self._capability.physical_bits

    def _require_vmx(self) -> None:
        if self._vmxon_region is None:
            raise InvalidOpcode("a VMX instruction must be executed in VMX operation, after VMXON")

    def _fail(self, error: VmError, why: str = "") -> VmFail:
        """VMfailValid where there is a current VMCS to hold the number, else VMfailInvalid."""
        if self._current is None:
            return VmFail(None, why or error.name)
        self._current.fields[VmcsField.INSTRUCTION_ERROR] = error.value
        return VmFail(error, why)


def _entry_failure(vmcs: Vmcs, reason: ExitReason, qualification: int, why: str) -> VmExit:
    return record(vmcs.fields, VmExit(reason, qualification, entry_failed=True, detail=why))
