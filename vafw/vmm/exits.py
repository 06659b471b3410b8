"""What the VMM does on each VM exit: a table by exit reason; a reason that is not in it stops the VM.

HLT                  skip it; the processor is halted until a vector is pending
VMCALL               `vafw.vmm.hypercall`, then skip it
CPUID                answer, then skip it
EXTERNAL_INTERRUPT   hand the vector to the VMM; what was being injected is injected again
EPT_VIOLATION        journal it and inject #GP: a guest that was prepared goes on, any other dies of it
everything else      the VM has failed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

from vafw.hw.vmx.bits import EptViolation, ExitReason, Interruption, VmcsField
from vafw.hw.vmx.exit import VmExit
from vafw.trace import EventKind
from vafw.vmm.hypercall import HypercallTable
from vafw.vmm.record import Journal
from vafw.vmm.vcpu import Vcpu
from vafw.vmm.vm import Vm

HYPERVISOR_LEAF: Final = 0x4000_0000
"""CPUID leaf where hypervisors say who they are."""
_SIGNATURE: Final = b"vafwvafwvafw"
_NAMES: Final = {each: each.name for each in ExitReason}
_HYPERVISOR_PRESENT: Final = 1 << 31
"""CPUID leaf 1, ECX bit 31."""
MAXIMUM_VIOLATIONS: Final = 64
"""EPT violations of one VM that are journalled; the others are only counted, or a guest could fill the journal."""


class VmFailed(Exception):
    """The VM cannot go on; carries why."""


@final
class ExitTable:
    """Dispatches VM exits."""

    def __init__(self, hypercalls: HypercallTable, journal: Journal, on_interrupt: Callable[[int], None]) -> None:
        """`on_interrupt` takes the vector of an external interrupt that arrived in non-root operation."""
        self._hypercalls = hypercalls
        self._journal = journal
        self._on_interrupt = on_interrupt
        self._table: Mapping[ExitReason, Callable[[Vm, Vcpu, VmExit], None]] = {
            ExitReason.HLT: self._hlt,
            ExitReason.VMCALL: self._vmcall,
            ExitReason.CPUID: self._cpuid,
            ExitReason.EXTERNAL_INTERRUPT: self._external_interrupt,
            ExitReason.EPT_VIOLATION: self._ept_violation,
        }

    def dispatch(self, vm: Vm, vcpu: Vcpu, left: VmExit) -> None:
        """Deal with one exit; VmFailed where the VM must be stopped."""
        vm.exits[_NAMES[left.reason]] += 1
        found = self._table.get(left.reason)
        if found is None or left.entry_failed:
            raise VmFailed(f"VM exit {left.reason.value} {left.reason.name}: {left.detail or 'no reason to continue'}")
        found(vm, vcpu, left)

    def _hlt(self, vm: Vm, vcpu: Vcpu, left: VmExit) -> None:
        vcpu.skip_instruction(left.instruction_length)
        vcpu.halted = True

    def _vmcall(self, vm: Vm, vcpu: Vcpu, left: VmExit) -> None:
        vcpu.registers.rax = self._hypercalls.call(vm, vcpu.registers)
        vcpu.skip_instruction(left.instruction_length)

    def _cpuid(self, vm: Vm, vcpu: Vcpu, left: VmExit) -> None:
        registers = vcpu.registers
        leaf = registers.rax
        registers.rax = registers.rbx = registers.rcx = registers.rdx = 0
        if leaf == HYPERVISOR_LEAF:
            words = (int.from_bytes(_SIGNATURE[at : at + 4], "little") for at in (0, 4, 8))
            registers.rax = HYPERVISOR_LEAF
            registers.rbx, registers.rcx, registers.rdx = words
        elif leaf == 1:
            registers.rcx = _HYPERVISOR_PRESENT
        vcpu.skip_instruction(left.instruction_length)

    def _external_interrupt(self, vm: Vm, vcpu: Vcpu, left: VmExit) -> None:
        interrupted = vcpu.read(VmcsField.IDT_VECTORING)
        if interrupted & Interruption.VALID.mask:
            vcpu.write(VmcsField.ENTRY_INTERRUPTION, interrupted)
        self._on_interrupt(Interruption.VECTOR.get(left.interruption))

    def _ept_violation(self, vm: Vm, vcpu: Vcpu, left: VmExit) -> None:
        if vm.exits[left.reason.name] <= MAXIMUM_VIOLATIONS:
            self._journal.write(
                EventKind.EPT_VIOLATION,
                vm.name,
                gpa=vcpu.read(VmcsField.GUEST_PHYSICAL_ADDRESS),
                qualification=EptViolation.describe(left.qualification),
            )
        vcpu.inject_general_protection()
