"""VMX non-root operation: what happens between a VM entry and the VM exit, one operation of the guest at a time.

    begin ──▶ (deliver what the VMM injects, or go on where the guest was)
      ▼
    boundary ──▶ exit?  monitor trap, preemption timer, NMI, interrupt window, external interrupt
      ▼
    operation ──▶ exit?  its intercept; else it is carried out, or faults, and the guest's code runs on ──▶ boundary

The hard part is that an exception can happen anywhere, the delivery of another one included. `_raise` asks the
exception bitmap, `_deliver` goes through the IDT, and whatever leaves in the middle of a delivery notes the event in
the IDT-vectoring fields, so that the VMM can inject it again.

A guest without an IDT (limit 0) is a simpler kind of program: an interrupt that wakes its HLT is what HLT returns, with
interrupts masked everywhere else, and an exception is a `GuestFault` at its `Access`.
(SDM volume 3, "VM Entries": "Event Injection"; "VM Exits": "Recording VM-Exit Information"; "Priority Among
Simultaneous Exceptions and Interrupts".)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, final

from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx import instruction
from vafw.hw.vmx.bits import (
    DOUBLE_FAULT,
    EXCEPTIONS_WITH_ERROR_CODE,
    NMI_VECTOR,
    PAGE_FAULT,
    RFLAGS_IF,
    RFLAGS_ONE,
    ExitControl,
    ExitReason,
    Interruptibility,
    Interruption,
    InterruptionType,
    PinControl,
    PrimaryControl,
    VmcsField,
)
from vafw.hw.vmx.delivery import Event, deliver, second_event
from vafw.hw.vmx.ept import Misconfiguration, Violation
from vafw.hw.vmx.exit import VmExit, ept_exit
from vafw.hw.vmx.guest import GuestContext, GuestFault
from vafw.hw.vmx.intercept import SOFTWARE_EXCEPTIONS, exception, exception_exit
from vafw.hw.vmx.operation import (
    Access,
    Cpuid,
    Exiting,
    Hlt,
    Operation,
    Raise,
    SoftwareInterrupt,
    Vmcall,
)
from vafw.hw.vmx.paging import Fault

_TIMER: Final = int(PinControl.ACTIVATE_PREEMPTION_TIMER)
_WATCHED: Final = int(PrimaryControl.INTERRUPT_WINDOW_EXITING | PrimaryControl.MONITOR_TRAP_FLAG)
"""Controls that have the execution looked at between two operations."""
_EVENT_TYPES: Final = tuple(InterruptionType)
_VALID: Final = Interruption.VALID.mask
_SHADOWS: Final = int(Interruptibility.BLOCKING_BY_STI | Interruptibility.BLOCKING_BY_MOV_SS)
_HLT_EXIT: Final = VmExit(ExitReason.HLT, instruction_length=Hlt.length)
_VMCALL_EXIT: Final = VmExit(ExitReason.VMCALL, instruction_length=Vmcall.length)
"""These say all there is to say of every one of their kind."""


@dataclass(slots=True)
class Registers:
    """General-purpose registers that a VM exit leaves as the guest had them."""

    rax: int = 0
    rbx: int = 0
    rcx: int = 0
    rdx: int = 0


@dataclass(slots=True)
class ProcessorState:
    """What guest and VMM share on a logical processor, since no VMCS holds it."""

    registers: Registers = field(default_factory=Registers)
    cr2: int = 0
    msrs: dict[int, int] = field(default_factory=dict)
    tsc: int = 0
    """The time-stamp counter, in nanoseconds; whoever has a clock moves it."""
    interrupts: deque[int] = field(default_factory=deque)
    """Vectors that wait in the local APIC, the oldest first."""
    nmi: bool = False


@final
class Execution:
    """One stay of a guest in non-root operation."""

    __slots__ = ("fields", "guest", "memory", "processor", "stepped", "timer_from", "watched")

    def __init__(
        self, processor: ProcessorState, memory: PhysicalMemory, fields: dict[int, int], guest: GuestContext
    ) -> None:
        """`fields` are the current VMCS's."""
        self.processor = processor
        self.memory = memory
        self.fields = fields
        self.guest = guest
        self.stepped = False
        """An operation has been carried out since the VM entry."""
        timed = fields[VmcsField.PIN_CONTROLS] & _TIMER
        self.timer_from = fields[VmcsField.PREEMPTION_TIMER] if timed else None
        """Where the preemption timer started; it counts operations."""
        self.watched = bool(timed or fields[VmcsField.PRIMARY_CONTROLS] & _WATCHED)

    def run(self) -> VmExit:
        """To the VM exit."""
        left = self._begin()
        while left is None:
            if self.watched or self.processor.interrupts or self.processor.nmi:
                left = self._boundary()
                if left is not None:
                    break
            left = self._operation()
        return left

    # -- VM entry ---------------------------------------------------------------------------------------------

    def _begin(self) -> VmExit | None:
        """Deliver what the VMM injects, or continue the guest."""
        fields = self.fields
        fields[VmcsField.IDT_VECTORING] = 0
        injected = fields[VmcsField.ENTRY_INTERRUPTION]
        if not injected & _VALID:
            self._continue()
            return None
        fields[VmcsField.ENTRY_INTERRUPTION] = injected & ~_VALID
        kind = _EVENT_TYPES[Interruption.TYPE.get(injected)]
        code = fields[VmcsField.ENTRY_ERROR_CODE] if injected & Interruption.ERROR_CODE.mask else None
        event = Event(Interruption.VECTOR.get(injected), kind, code)
        if fields[VmcsField.GUEST_IDTR_LIMIT]:
            self._note_result()
            return self._deliver(event)
        self._deliver_without_idt(event)
        return None

    def _continue(self) -> None:
        """Start, go on after an operation that was completed for the guest, or repeat the operation."""
        guest, rip = self.guest, self.fields[VmcsField.GUEST_RIP]
        if guest.fresh:
            guest.rip = rip
            guest.start()
        elif guest.operation is not None and rip != guest.rip:
            after = guest.rip + guest.operation.length
            operation, guest.rip = guest.operation, rip
            if rip == after:
                guest.complete(self._result(operation))
            else:
                guest.end(f"there is no code at RIP {rip:#x}")

    def _note_result(self) -> None:
        """A VMM that has moved RIP past an operation has completed it; the guest finds the result after the handler."""
        guest = self.guest
        if guest.operation is not None and self.fields[VmcsField.GUEST_RIP] == guest.rip + guest.operation.length:
            guest.result = self._result(guest.operation)

    def after_return(self) -> None:
        """For `instruction`: an IRET has gone back; the interrupted operation is repeated, or over."""
        guest, rip = self.guest, self.fields[VmcsField.GUEST_RIP]
        if guest.fresh:
            guest.rip = rip
            guest.start()
        elif guest.operation is not None and rip != guest.rip:
            after = guest.rip + guest.operation.length
            guest.rip = rip
            if rip == after:
                guest.complete(guest.result)
            else:
                guest.end(f"there is no code at RIP {rip:#x}")

    def _result(self, operation: Operation) -> object:
        """What a guest finds where the VMM has completed its operation."""
        registers = self.processor.registers
        match operation:
            case Vmcall():
                return registers.rax
            case Cpuid():
                return registers.rax, registers.rbx, registers.rcx, registers.rdx
            case Access():
                return registers.rax.to_bytes(8, "little")[: operation.size]
            case _:
                return registers.rax if instruction.has_result(operation) else None

    # -- between two operations -------------------------------------------------------------------------------

    def _boundary(self) -> VmExit | None:
        """Whatever comes before the next instruction, in the manual's order of priority."""
        fields, processor = self.fields, self.processor
        pin, primary = fields[VmcsField.PIN_CONTROLS], fields[VmcsField.PRIMARY_CONTROLS]
        if self.stepped and primary & PrimaryControl.MONITOR_TRAP_FLAG:
            return VmExit(ExitReason.MONITOR_TRAP_FLAG)
        if pin & PinControl.ACTIVATE_PREEMPTION_TIMER and not fields[VmcsField.PREEMPTION_TIMER]:
            return VmExit(ExitReason.PREEMPTION_TIMER)
        if processor.nmi and not fields[VmcsField.GUEST_INTERRUPTIBILITY] & Interruptibility.BLOCKING_BY_NMI:
            processor.nmi = False
            return self._nmi(pin)
        if primary & PrimaryControl.INTERRUPT_WINDOW_EXITING and self._window_is_open():
            return VmExit(ExitReason.INTERRUPT_WINDOW)
        return self._external_interrupt() if processor.interrupts else None

    def _window_is_open(self) -> bool:
        """Whether the guest would take an interrupt now."""
        return bool(
            self.fields[VmcsField.GUEST_RFLAGS] & RFLAGS_IF
            and not self.fields[VmcsField.GUEST_INTERRUPTIBILITY] & _SHADOWS
        )

    def _nmi(self, pin: int) -> VmExit | None:
        if not pin & PinControl.NMI_EXITING:
            return self._deliver(Event(NMI_VECTOR, InterruptionType.NMI))
        information = Interruption.pack(VECTOR=NMI_VECTOR, TYPE=InterruptionType.NMI, VALID=1)
        return VmExit(ExitReason.EXCEPTION_OR_NMI, interruption=information)

    def _external_interrupt(self) -> VmExit:
        """External-interrupt exiting is always on; the exit takes the vector where it is asked to."""
        information = 0
        if self.fields[VmcsField.EXIT_CONTROLS] & ExitControl.ACKNOWLEDGE_INTERRUPT:
            information = Interruption.pack(VECTOR=self.processor.interrupts.popleft(), VALID=1)
        return VmExit(ExitReason.EXTERNAL_INTERRUPT, interruption=information)

    # -- one operation ----------------------------------------------------------------------------------------

    def _operation(self) -> VmExit | None:
        """The operation at RIP: its VM exit, or None where it went through and the guest has run on."""
        guest, fields = self.guest, self.fields
        operation = guest.operation
        fields[VmcsField.GUEST_RIP] = guest.rip
        if not fields[VmcsField.GUEST_IDTR_LIMIT]:
            fields[VmcsField.GUEST_RFLAGS] = RFLAGS_ONE | RFLAGS_IF if isinstance(operation, Hlt) else RFLAGS_ONE
        if isinstance(operation, Hlt):
            return _HLT_EXIT
        if isinstance(operation, Vmcall):
            self.processor.registers = Registers(operation.rax, operation.rbx, operation.rcx, operation.rdx)
            return _VMCALL_EXIT
        if operation is None:
            return self._end()
        if self.watched:
            self.stepped = True
            if self.timer_from is not None:
                fields[VmcsField.PREEMPTION_TIMER] -= 1
        shadows = fields[VmcsField.GUEST_INTERRUPTIBILITY] & _SHADOWS
        left = self._execute(operation)
        if shadows and left is None:
            fields[VmcsField.GUEST_INTERRUPTIBILITY] &= ~shadows
        return left

    def _execute(self, operation: Operation) -> VmExit | None:
        match operation:
            case Access():
                outcome = self.guest.cpu.access(operation)
                return self.finish(outcome) if isinstance(outcome, bytes) else self._refused(outcome, operation)
            case Cpuid():
                self.processor.registers = Registers(rax=operation.leaf)
                return VmExit(ExitReason.CPUID, instruction_length=Cpuid.length)
            case Exiting():
                return VmExit(operation.reason, instruction_length=Exiting.length)
            case Raise():
                return self._raise(Fault(operation.vector, operation.error_code), operation.length)
            case SoftwareInterrupt():
                self.fields[VmcsField.GUEST_RIP] = self.guest.rip + operation.length
                self.guest.result = None
                return self._deliver(Event(operation.vector, InterruptionType.SOFTWARE_INTERRUPT))
            case _:
                found = instruction.CARRY_OUT[type(operation)](self, operation)
                return found if found is None or isinstance(found, VmExit) else self._refused(found, None)

    def finish(self, value: object = None) -> VmExit | None:
        """The operation has gone through: RIP moves on and the guest's code runs to its next one."""
        guest = self.guest
        assert guest.operation is not None
        guest.rip += guest.operation.length
        self.fields[VmcsField.GUEST_RIP] = guest.rip
        guest.complete(value)
        return None

    def _end(self) -> VmExit:
        """No code is left: what a plain access was refused for, once, and then the triple fault."""
        guest = self.guest
        refused = guest.cpu.refused
        if refused is not None and not guest.reported:
            guest.reported = True
            if not isinstance(refused, Fault):
                return ept_exit(refused)
        return VmExit(ExitReason.TRIPLE_FAULT, detail=guest.died_of)

    # -- exceptions and deliveries ----------------------------------------------------------------------------

    def _refused(self, outcome: Fault | Violation | Misconfiguration, operation: Access | None) -> VmExit | None:
        if isinstance(outcome, Fault):
            return self._raise(outcome, 0)
        paged = operation is not None and self.guest.cpu.pages
        return ept_exit(outcome, operation.address if paged and operation is not None else None)

    def _raise(self, fault: Fault, length: int) -> VmExit | None:
        """An exception of the current operation: to the VMM where the bitmap says so, else to the guest."""
        if exception(self.fields, fault):
            return exception_exit(fault, length)
        software = fault.vector in SOFTWARE_EXCEPTIONS
        kind = InterruptionType.SOFTWARE_EXCEPTION if software else InterruptionType.HARDWARE_EXCEPTION
        code = (fault.error_code or 0) if fault.vector in EXCEPTIONS_WITH_ERROR_CODE else None
        event = Event(fault.vector, kind, code, fault.linear)
        if self.fields[VmcsField.GUEST_IDTR_LIMIT]:
            return self._deliver(event)
        if fault.vector == PAGE_FAULT and fault.linear is not None:
            self.processor.cr2 = fault.linear
        self._deliver_without_idt(event)
        return None

    def _deliver(self, event: Event) -> VmExit | None:
        """Through the IDT; faults on the way are raised in turn, and any exit on the way notes the event."""
        while True:
            if event.vector == PAGE_FAULT and event.linear is not None:
                self.processor.cr2 = event.linear
            outcome = deliver(self.guest, self.fields, event)
            if isinstance(outcome, str):
                if outcome:
                    self.guest.end(outcome)
                return None
            if not isinstance(outcome, Fault):
                return self._left_while_delivering(event, ept_exit(outcome))
            if exception(self.fields, outcome):
                return self._left_while_delivering(event, exception_exit(outcome, 0))
            second = second_event(event, outcome)
            if second is None:
                return VmExit(ExitReason.TRIPLE_FAULT, detail=f"no handler could be reached for event {event.vector}")
            doubled = Fault(second.vector, second.error_code)
            if second.vector == DOUBLE_FAULT and exception(self.fields, doubled):
                return exception_exit(doubled, 0)
            event = second

    def _left_while_delivering(self, event: Event, left: VmExit) -> VmExit:
        self.fields[VmcsField.IDT_VECTORING] = event.information
        self.fields[VmcsField.IDT_VECTORING_ERROR_CODE] = event.error_code or 0
        return left

    def _deliver_without_idt(self, event: Event) -> None:
        """To a program whose handler is an except clause, or an HLT that returns the vector."""
        guest = self.guest
        guest.rip = self.fields[VmcsField.GUEST_RIP]
        if event.kind is InterruptionType.EXTERNAL and isinstance(guest.operation, Hlt):
            guest.complete(event.vector)
        elif event.kind is InterruptionType.HARDWARE_EXCEPTION and isinstance(guest.operation, Access):
            guest.fault(GuestFault(event.vector, event.error_code or 0))
        else:
            guest.end(f"event {event.information:#x} arrived where the guest has no handler for it")
