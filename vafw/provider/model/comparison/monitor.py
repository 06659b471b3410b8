"""The VMMs of a comparison: what each does at a VM exit, and how it virtualizes memory.

`Monitor` is what all share: interrupts are injected as soon as the guest takes them, and an interrupt window is asked
for where it does not. `ShadowMonitor` adds a virtual TLB, `ParavirtualMonitor` the hypercalls of a guest whose page
tables are the real ones: every entry that it asks for is checked to name its own memory.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from typing import Final, final

from vafw.address import Hpa
from vafw.errors import VafwError
from vafw.hw.vmx.bits import (
    PAGE_FAULT,
    RFLAGS_IF,
    ExitReason,
    GuestPagingEntry,
    Interruption,
    InterruptionType,
    PrimaryControl,
    VmcsField,
)
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vmx.operation import Cli, Invlpg, MoveToCr, Operation, Sti
from vafw.hw.vmx.processor import InvvpidType
from vafw.provider.model.comparison.dialect import SHARED_FLAG, Call
from vafw.provider.model.comparison.layout import GUEST_BYTES, TIMER_VECTOR, Layout
from vafw.vmm.vcpu import Vcpu
from vafw.vmm.virtual_tlb import VirtualTlb

MAXIMUM_EXITS: Final = 5_000_000
_VALID: Final = Interruption.VALID.mask
_BLOCKED: Final = 3
"""Interruptibility: blocking by STI or by MOV SS."""
_UPDATE: Final = struct.Struct("<QQ")


class WorkloadFailed(VafwError):
    """A guest did not come to the end of its workload."""


class Monitor:
    """Runs one guest to the end of its workload; with EPT, nothing but device and processor state is left to do."""

    def __init__(self, vcpu: Vcpu, layout: Layout) -> None:
        self.vcpu = vcpu
        self.layout = layout
        self.exits: Counter[str] = Counter()
        self.pending: deque[int] = deque()
        self._done = False

    def run(self) -> None:
        """Enter the guest until it says DONE; WorkloadFailed where it cannot go on."""
        self.vcpu.load()
        while not self._done:
            self._inject_pending()
            left = self.vcpu.enter()
            self.exits[self.name_of(left)] += 1
            if sum(self.exits.values()) > MAXIMUM_EXITS:
                raise WorkloadFailed(f"a workload must end within {MAXIMUM_EXITS} VM exits")
            self.handle(left)

    def name_of(self, left: VmExit) -> str:
        """The exit's name in the result."""
        return left.reason.name

    def handle(self, left: VmExit) -> None:
        """Deal with one exit."""
        match left.reason:
            case ExitReason.HLT:
                self.vcpu.skip_instruction(left.instruction_length)
                self.pending.append(TIMER_VECTOR)
            case ExitReason.CPUID | ExitReason.IO_INSTRUCTION | ExitReason.WRMSR:
                self.vcpu.skip_instruction(left.instruction_length)
            case ExitReason.EXTERNAL_INTERRUPT:
                self.pending.append(Interruption.VECTOR.get(left.interruption))
                self.inject_again()
            case ExitReason.INTERRUPT_WINDOW:
                self._ask_for_window(wanted=False)
            case ExitReason.VMCALL:
                self.call(left)
            case _:
                raise WorkloadFailed(f"the guest must not end in VM exit {left.reason.name}: {left.detail}")

    def call(self, left: VmExit) -> None:
        """A hypercall; of an unmodified guest only DONE."""
        self._done = self.vcpu.registers.rax == Call.DONE
        self.vcpu.skip_instruction(left.instruction_length)

    def takes_interrupts(self) -> bool:
        """Whether the guest would take an interrupt now."""
        return bool(
            self.vcpu.read(VmcsField.GUEST_RFLAGS) & RFLAGS_IF
            and not self.vcpu.read(VmcsField.GUEST_INTERRUPTIBILITY) & _BLOCKED
        )

    def inject_again(self) -> None:
        """An exit has interrupted the delivery of an event: deliver it at the next entry."""
        interrupted = self.vcpu.read(VmcsField.IDT_VECTORING)
        if interrupted & _VALID:
            self.vcpu.write(VmcsField.ENTRY_INTERRUPTION, interrupted)
            self.vcpu.write(VmcsField.ENTRY_ERROR_CODE, self.vcpu.read(VmcsField.IDT_VECTORING_ERROR_CODE))

    def _inject_pending(self) -> None:
        """The oldest interrupt, if nothing else is being injected and the guest takes it; else its window."""
        if not self.pending or self.vcpu.read(VmcsField.ENTRY_INTERRUPTION) & _VALID:
            return
        if self.takes_interrupts():
            self.vcpu.inject_interrupt(self.pending.popleft())
        else:
            self._ask_for_window(wanted=True)

    def _ask_for_window(self, *, wanted: bool) -> None:
        controls = self.vcpu.read(VmcsField.PRIMARY_CONTROLS) & ~int(PrimaryControl.INTERRUPT_WINDOW_EXITING)
        window = int(PrimaryControl.INTERRUPT_WINDOW_EXITING) if wanted else 0
        self.vcpu.write(VmcsField.PRIMARY_CONTROLS, controls | window)


class ShadowMonitor(Monitor):
    """Without EPT: the processor walks the virtual TLB's tables."""

    def __init__(self, vcpu: Vcpu, layout: Layout, shadow: VirtualTlb) -> None:
        super().__init__(vcpu, layout)
        self.shadow = shadow
        self.guest_cr3 = layout.roots[0]
        self.reflected = 0
        """Page faults that were the guest's own."""

    def name_of(self, left: VmExit) -> str:
        """Page faults, and which control register."""
        if left.reason is ExitReason.EXCEPTION_OR_NMI:
            return "PAGE_FAULT"
        return "CR3_LOAD" if left.reason is ExitReason.CR_ACCESS else left.reason.name

    def handle(self, left: VmExit) -> None:
        """Page faults, CR3 loads and INVLPG beside what every VMM does."""
        match left.reason:
            case ExitReason.EXCEPTION_OR_NMI:
                self._page_fault(left)
            case ExitReason.CR_ACCESS:
                self.load_cr3(self.vcpu.registers.rax)
                self.vcpu.skip_instruction(left.instruction_length)
            case ExitReason.INVLPG:
                self.invalidate(left.qualification)
                self.vcpu.skip_instruction(left.instruction_length)
            case _:
                super().handle(left)

    def load_cr3(self, value: int) -> None:
        """Another address space: the active tables are emptied, and what the processor remembers of them."""
        self.guest_cr3 = value
        self.shadow.empty()
        self._forget(None)

    def invalidate(self, linear: int) -> None:
        """The guest's INVLPG."""
        self.shadow.forget(linear)
        self._forget(linear)

    def _forget(self, linear: int | None) -> None:
        """INVVPID; without VPIDs the VM entry forgets by itself."""
        vpid = self.vcpu.vpid
        kind = InvvpidType.SINGLE_CONTEXT if linear is None else InvvpidType.INDIVIDUAL_ADDRESS
        if vpid:
            self.vcpu.processor.invvpid(kind, vpid, linear or 0)

    def _page_fault(self, left: VmExit) -> None:
        """Fill, or let the guest see it."""
        own = self.shadow.fill(self.guest_cr3, left.qualification, left.error_code)
        if own is None:
            self.inject_again()
            return
        self.reflected += 1
        self.vcpu.processor.state.cr2 = left.qualification
        self.vcpu.write(VmcsField.ENTRY_ERROR_CODE, own.error_code)
        information = Interruption.pack(
            VECTOR=PAGE_FAULT, TYPE=InterruptionType.HARDWARE_EXCEPTION, ERROR_CODE=1, VALID=1
        )
        self.vcpu.write(VmcsField.ENTRY_INTERRUPTION, information)


@final
class TranslatorMonitor(ShadowMonitor):
    """A VMM whose code runs in the guest's address space: it emulates what translated instructions ask for."""

    def __init__(self, vcpu: Vcpu, layout: Layout, shadow: VirtualTlb) -> None:
        super().__init__(vcpu, layout, shadow)
        self._masked = True

    def emulate(self, operation: Operation) -> None:
        """On the virtual processor, without leaving the guest."""
        match operation:
            case MoveToCr():
                self.load_cr3(operation.value)
            case Invlpg():
                self.invalidate(operation.address)
            case Cli():
                self._masked = True
            case Sti():
                self._masked = False
            case _:
                pass

    def takes_interrupts(self) -> bool:
        """The virtual flag decides as well: the real one is never cleared by the guest's own code."""
        return not self._masked and super().takes_interrupts()


@final
class ParavirtualMonitor(Monitor):
    """The VMM of a guest that calls it."""

    def name_of(self, left: VmExit) -> str:
        """Which hypercall."""
        if left.reason is not ExitReason.VMCALL:
            return left.reason.name
        return f"VMCALL {Call(self.vcpu.registers.rax).name}"

    def call(self, left: VmExit) -> None:
        """The hypercalls."""
        registers = self.vcpu.registers
        match registers.rax:
            case Call.SWITCH:
                self._switch(registers.rbx)
            case Call.UPDATE:
                self._update(registers.rbx, registers.rcx)
            case Call.IDLE:
                self.pending.append(TIMER_VECTOR)
            case _:
                pass
        super().call(left)

    def takes_interrupts(self) -> bool:
        """The guest masks them in the shared page."""
        masked = self.vcpu.memory.read_u64(Hpa(self.layout.base + SHARED_FLAG))
        return not masked and super().takes_interrupts()

    def _switch(self, root: int) -> None:
        if root not in self.layout.roots:
            raise WorkloadFailed(f"a para-virtual guest must load one of its own roots, not {root:#x}")
        self.vcpu.write(VmcsField.GUEST_CR3, root)
        self.vcpu.processor.invvpid(InvvpidType.SINGLE_CONTEXT_RETAINING_GLOBALS, self.vcpu.vpid)

    def _update(self, buffer: int, count: int) -> None:
        """Check and carry out a batch; a page whose entry changes is invalidated."""
        memory, base = self.vcpu.memory, self.layout.base
        raw = memory.read(Hpa(base + buffer), count * 24)
        for number in range(count):
            place, entry = _UPDATE.unpack_from(raw, number * 16)
            frame = entry & GuestPagingEntry.ADDRESS.mask
            if entry & GuestPagingEntry.P.mask and not base <= frame < base + GUEST_BYTES:
                raise WorkloadFailed(f"a para-virtual guest must map its own memory, not {frame:#x}")
            memory.write_u64(Hpa(base + place), entry)
            linear = int.from_bytes(raw[count * 16 + number * 8 :][:8], "little")
            if linear:
                self.vcpu.processor.invvpid(InvvpidType.INDIVIDUAL_ADDRESS, self.vcpu.vpid, linear)
