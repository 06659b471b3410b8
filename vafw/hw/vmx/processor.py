"""A logical processor with VMX: the VMX instructions, VM entries, the guest between them, and VM exits.

Software of the host calls the instructions as methods. An instruction that fails gives a `VmFail`: without a number it
is VMfailInvalid (CF), with one VMfailValid (ZF, and the number in the current VMCS). VMLAUNCH and VMRESUME return when
the guest has left again, with the `VmExit` that the VMCS describes too.

Not here: segmentation, paging in the guest, an instruction decoder. A guest's code is a generator that the model places
at a VMCS with `place`, where silicon finds bytes at RIP. RIP is kept honest all the same: it stands at the operation
that caused the exit, and only a VMM that advances it by the instruction length lets the guest go on; one that does not
has the operation executed again.

The hard part is `_run`: a guest continues in one of four ways (first entry, completed operation, repeated operation,
injected event), and an operation that needs no exit must not make one.
(SDM volume 3, "VMX Instruction Reference", "VM Entries", "VM Exits".)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final, final

from vafw.address import Gpa, Hpa
from vafw.errors import VafwError
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import (
    ENTRY_FAILURE,
    LINK_POINTER_INVALID,
    REVISION,
    RFLAGS_IF,
    RFLAGS_ONE,
    VMCS_BYTES,
    ExitControl,
    ExitReason,
    Interruption,
    InterruptionType,
    PrimaryControl,
    VmcsField,
    VmError,
)
from vafw.hw.vmx.entry import controls_fault, guest_fault, host_fault, link_pointer_fault, passes_again
from vafw.hw.vmx.ept import EptCapability, Misconfiguration, Violation, eptp_is_valid
from vafw.hw.vmx.guest import Access, Cpuid, GuestContext, GuestCpu, GuestFault, GuestProgram, Hlt, Vmcall
from vafw.hw.vmx.translation import TranslationCache
from vafw.hw.vmx.vmcs import Vmcs, clear_region, revision_of

_U64: Final = 0xFFFF_FFFF_FFFF_FFFF
_VALID: Final = Interruption.VALID.mask
_TSC_OFFSETTING: Final = int(PrimaryControl.USE_TSC_OFFSETTING)
_HLT_BYTES, _CPUID_BYTES, _VMCALL_BYTES, _MOV_BYTES = 1, 2, 3, 3
"""Lengths of the instructions that the operations stand for."""


class InvalidOpcode(VafwError):
    """#UD: a VMX instruction outside VMX operation."""


class InveptType(Enum):
    """INVEPT types."""

    SINGLE_CONTEXT = 1
    ALL_CONTEXT = 2


@dataclass(frozen=True, slots=True)
class VmFail:
    """A VMX instruction failed; `error` None is VMfailInvalid."""

    error: VmError | None
    why: str = ""
    """For people; hardware says only the number."""

    def __str__(self) -> str:
        number = "VMfailInvalid" if self.error is None else f"VM-instruction error {self.error.value} {self.error.name}"
        return f"{number}: {self.why}" if self.why else number


@dataclass(frozen=True, slots=True)
class VmExit:
    """A VM exit, as the VM-exit information fields describe it."""

    reason: ExitReason
    qualification: int = 0
    gpa: Gpa | None = None
    instruction_length: int = 0
    interruption: int = 0
    entry_failed: bool = False
    detail: str = ""
    """For people, where the fields do not say it: how a guest ended, which check an entry failed."""


_HLT_EXIT: Final = VmExit(ExitReason.HLT, instruction_length=_HLT_BYTES)
_VMCALL_EXIT: Final = VmExit(ExitReason.VMCALL, instruction_length=_VMCALL_BYTES)
"""These say all there is to say of every one of their kind."""


@dataclass(slots=True)
class Registers:
    """General-purpose registers that a VM exit leaves as the guest had them."""

    rax: int = 0
    rbx: int = 0
    rcx: int = 0
    rdx: int = 0


@final
class LogicalProcessor:
    """One logical processor."""

    def __init__(self, memory: PhysicalMemory, number: int = 0, *, capability: EptCapability | None = None) -> None:
        """`number` is its APIC id."""
        self.number = number
        self.registers = Registers()
        self.tsc = 0
        """The time-stamp counter, in nanoseconds; whoever has a clock moves it."""
        self._memory = memory
        self._capability = capability or EptCapability()
        self._vmxon_region: Hpa | None = None
        self._active: dict[Hpa, Vmcs] = {}
        self._current: Vmcs | None = None
        self._translations = TranslationCache()
        self._placed: dict[Hpa, GuestContext] = {}
        self._interrupts: deque[int] = deque()

    # -- VMX instructions -------------------------------------------------------------------------------------

    def vmxon(self, region: Hpa) -> VmFail | None:
        """Enter VMX operation with a 4 KiB region that carries the revision identifier."""
        if self._vmxon_region is not None:
            return self._fail(VmError.VMXON_IN_ROOT)
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
        self._translations.invalidate_all()

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
            self._translations.invalidate_all()
        elif eptp_is_valid(eptp, self._capability):
            self._translations.invalidate(eptp)
        else:
            return self._fail(VmError.INVALID_OPERAND)
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

    def raise_interrupt(self, vector: int) -> None:
        """An external interrupt arrives at the local APIC."""
        self._interrupts.append(vector)

    def acknowledge_interrupt(self) -> int | None:
        """The host takes the oldest interrupt that waits."""
        return self._interrupts.popleft() if self._interrupts else None

    # -- VM entry ---------------------------------------------------------------------------------------------

    def _enter(self, *, launch: bool) -> VmExit | VmFail:
        self._require_vmx()
        vmcs = self._current
        if vmcs is None:
            return VmFail(None)
        if launch and vmcs.launched:
            return self._fail(VmError.VMLAUNCH_NOT_CLEAR)
        if not launch and not vmcs.launched:
            return self._fail(VmError.VMRESUME_NOT_LAUNCHED)
        if not passes_again(vmcs) and (refused := self._check(vmcs)) is not None:
            return refused
        vmcs.launched = vmcs.vetted = True
        return self._run(vmcs)

    def _check(self, vmcs: Vmcs) -> VmExit | VmFail | None:
        """Every check of a VM entry, in order."""
        if why := controls_fault(vmcs, self._capability):
            return self._fail(VmError.INVALID_CONTROLS, why)
        if why := host_fault(vmcs):
            return self._fail(VmError.INVALID_HOST_STATE, why)
        if why := guest_fault(vmcs):
            return self._entry_failure(vmcs, 0, why)
        if why := link_pointer_fault(vmcs):
            return self._entry_failure(vmcs, LINK_POINTER_INVALID, why)
        return None

    def _entry_failure(self, vmcs: Vmcs, qualification: int, why: str) -> VmExit:
        vmcs.fields[VmcsField.EXIT_REASON] = ExitReason.INVALID_GUEST_STATE | ENTRY_FAILURE
        vmcs.fields[VmcsField.EXIT_QUALIFICATION] = qualification
        return VmExit(ExitReason.INVALID_GUEST_STATE, qualification, entry_failed=True, detail=why)

    # -- non-root operation -----------------------------------------------------------------------------------

    def _run(self, vmcs: Vmcs) -> VmExit:
        """From VM entry to VM exit."""
        guest = self._placed.get(vmcs.region)
        if guest is None:
            return self._exit(vmcs, VmExit(ExitReason.TRIPLE_FAULT, detail="there is no code at RIP"))
        fields = vmcs.fields
        eptp = fields[VmcsField.EPTP]
        guest.cpu.bind(eptp, self._translations.tagged(eptp), self._guest_tsc(vmcs))
        if self._interrupts:
            return self._external_interrupt(vmcs)
        injected = fields[VmcsField.ENTRY_INTERRUPTION]
        if injected & _VALID:
            fields[VmcsField.ENTRY_INTERRUPTION] = injected & ~_VALID
            self._deliver(vmcs, guest, injected)
        else:
            self._continue(vmcs, guest)
        while True:
            left = self._execute(vmcs, guest)
            if left is not None:
                guest.length = left.instruction_length
                return self._exit(vmcs, left)

    def _deliver(self, vmcs: Vmcs, guest: GuestContext, information: int) -> None:
        """An injected event reaches the guest."""
        vector = Interruption.VECTOR.get(information)
        kind = Interruption.TYPE.get(information)
        guest.rip = vmcs.fields[VmcsField.GUEST_RIP]
        if kind == InterruptionType.EXTERNAL and isinstance(guest.operation, Hlt):
            guest.complete(vector)
        elif kind == InterruptionType.HARDWARE_EXCEPTION and isinstance(guest.operation, Access):
            guest.fault(GuestFault(vector, vmcs.fields[VmcsField.ENTRY_ERROR_CODE]))
        else:
            guest.end(f"event {information:#x} arrived where the guest has no handler for it")

    def _continue(self, vmcs: Vmcs, guest: GuestContext) -> None:
        """Without an event: start, go on after an operation that was completed for it, or repeat the operation."""
        rip = vmcs.fields[VmcsField.GUEST_RIP]
        if guest.fresh:
            guest.rip = rip
            guest.start()
        elif guest.operation is not None and rip != guest.rip:
            after = guest.rip + guest.length
            operation, guest.rip = guest.operation, rip
            if rip == after:
                guest.complete(self._result(operation))
            else:
                guest.end(f"there is no code at RIP {rip:#x}")

    def _result(self, operation: object) -> object:
        """What a guest finds where the VMM has completed its operation."""
        registers = self.registers
        if isinstance(operation, Vmcall):
            return registers.rax
        if isinstance(operation, Cpuid):
            return registers.rax, registers.rbx, registers.rcx, registers.rdx
        return registers.rax.to_bytes(8, "little")[: operation.length] if isinstance(operation, Access) else None

    def _execute(self, vmcs: Vmcs, guest: GuestContext) -> VmExit | None:
        """The operation at RIP: its VM exit, or None where it went through and the guest has run on."""
        operation = guest.operation
        fields = vmcs.fields
        fields[VmcsField.GUEST_RIP] = guest.rip
        if isinstance(operation, Hlt):
            fields[VmcsField.GUEST_RFLAGS] = RFLAGS_ONE | RFLAGS_IF
            return _HLT_EXIT
        fields[VmcsField.GUEST_RFLAGS] = RFLAGS_ONE
        if isinstance(operation, Vmcall):
            self.registers = Registers(operation.rax, operation.rbx, operation.rcx, operation.rdx)
            return _VMCALL_EXIT
        if isinstance(operation, Cpuid):
            self.registers = Registers(rax=operation.leaf)
            return VmExit(ExitReason.CPUID, instruction_length=_CPUID_BYTES)
        if isinstance(operation, Access):
            outcome = guest.cpu.access(operation)
            if not isinstance(outcome, bytes):
                return _ept_exit(outcome)
            guest.rip += _MOV_BYTES
            guest.complete(outcome)
            return None
        if guest.cpu.refused is not None and not guest.reported:
            guest.reported = True
            return _ept_exit(guest.cpu.refused)
        return VmExit(ExitReason.TRIPLE_FAULT, detail=guest.died_of)

    def _external_interrupt(self, vmcs: Vmcs) -> VmExit:
        """A physical interrupt arrives before the guest's first instruction; what was to be injected stays to be."""
        information = 0
        if vmcs.fields[VmcsField.EXIT_CONTROLS] & ExitControl.ACKNOWLEDGE_INTERRUPT:
            information = Interruption.pack(VECTOR=self._interrupts.popleft(), VALID=1)
        pending = vmcs.fields[VmcsField.ENTRY_INTERRUPTION]
        vmcs.fields[VmcsField.IDT_VECTORING] = pending if pending & Interruption.VALID.mask else 0
        vmcs.fields[VmcsField.ENTRY_INTERRUPTION] = pending & ~Interruption.VALID.mask
        return self._exit(vmcs, VmExit(ExitReason.EXTERNAL_INTERRUPT, interruption=information), vectoring=True)

    def _exit(self, vmcs: Vmcs, left: VmExit, *, vectoring: bool = False) -> VmExit:
        """Record the exit in the VMCS."""
        fields = vmcs.fields
        fields[VmcsField.EXIT_REASON] = left.reason
        fields[VmcsField.EXIT_QUALIFICATION] = left.qualification
        fields[VmcsField.INSTRUCTION_LENGTH] = left.instruction_length
        fields[VmcsField.EXIT_INTERRUPTION] = left.interruption
        if left.gpa is not None:
            fields[VmcsField.GUEST_PHYSICAL_ADDRESS] = left.gpa
            fields[VmcsField.GUEST_LINEAR_ADDRESS] = left.gpa
        if not vectoring:
            fields[VmcsField.IDT_VECTORING] = 0
        return left

    # -- machinery --------------------------------------------------------------------------------------------

    def _guest_tsc(self, vmcs: Vmcs) -> int:
        if vmcs.fields[VmcsField.PRIMARY_CONTROLS] & _TSC_OFFSETTING:
            return self.tsc + vmcs.fields[VmcsField.TSC_OFFSET] & _U64
        return self.tsc

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


def _ept_exit(outcome: Violation | Misconfiguration) -> VmExit:
    if isinstance(outcome, Violation):
        return VmExit(ExitReason.EPT_VIOLATION, outcome.qualification, outcome.gpa, detail=str(outcome))
    return VmExit(ExitReason.EPT_MISCONFIGURATION, 0, outcome.gpa, detail=str(outcome))
