"""Isolation probes: what no VM and no device may do, done for real on the running machine, and what the hardware said.

Each attempt goes the way an attacker's would: a guest program on an extra virtual processor of the VM, over the VM's
own tables; a memory request or a message with the function's own requester id. Nothing here decides by looking at
tables; it compares what came back with what stands at the target. An address that names the target on the host may well
name the actor's own memory in the actor's address space: then the target was not reached either, and the evidence says
so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vafw.address import PAGE_SIZE, Bdf, Gpa, Hpa, Iova
from vafw.hw.pci.config import MSI_ADDRESS
from vafw.hw.vmx.bits import EptViolation, ExitReason
from vafw.hw.vmx.ept import AccessKind
from vafw.hw.vmx.guest import GuestCpu, GuestFault, GuestProgram, Running
from vafw.hw.vmx.operation import Access, Hlt
from vafw.hw.vtd import DmaFault
from vafw.vmm.assignment import FAULT_VECTOR
from vafw.vmm.boot import BOOT_GPA
from vafw.vmm.vm import Assignment, Vm, VmState
from vafw.vmm.vmm import Vmm

LENGTH: Final = 64
"""Bytes of each attempt."""
REGISTERS: Final = (
    ("remapping unit's registers", 0xFED9_0000),
    ("TXT private registers", 0xFED2_0000),
    ("TPM locality 4", 0xFED4_4000),
)
"""Windows of the PC that only the VMM, or not even the VMM, may touch."""
COMPATIBILITY_FORMAT: Final = 0xFEE0_0000
UNUSED_INDEX: Final = 255
"""An index of the interrupt remapping table that no function has."""
UNUSED_ADDRESS: Final = 0xFEE0_0010 | UNUSED_INDEX << 5


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One attempt and its outcome."""

    name: str
    actor: str
    target: str
    blocked: bool
    evidence: str
    """The VM exit or the fault record, as the hardware reports it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Host memory that somebody else must not reach, with contents that nothing else has."""

    name: str
    hpa: Hpa


def run_probes(vmm: Vmm) -> tuple[ProbeResult, ...]:
    """Every attempt of every running VM and of every function assigned to one."""
    canary = vmm.frames.allocate()
    vmm.memory.write(canary, b"memory of the VMM, which nobody else may read or write " * 8)
    try:
        return tuple(_attempts(vmm, canary))
    finally:
        vmm.memory.clear(canary, PAGE_SIZE)
        vmm.frames.release(canary)


def _attempts(vmm: Vmm, canary: Hpa) -> Iterator[ProbeResult]:
    running = [vm for vm in vmm.vms if vm.state is VmState.RUNNING]
    for vm in running:
        targets = [Target("VMM memory", canary), *(_memory_of(other) for other in running if other is not vm)]
        yield from _guest_attempts(vmm, vm, targets)
        for assignment in vm.assignments.values():
            yield from _dma_attempts(vmm, vm, assignment, targets)
            yield from _message_attempts(vmm, vm, assignment)


def _memory_of(vm: Vm) -> Target:
    """Where a VM's boot description stands, which carries its name."""
    return Target(f"memory of {vm.name}", Hpa(vm.ranges[0].hpa + BOOT_GPA))


# -- a guest's own accesses ---------------------------------------------------------------------------------------


def _guest_attempts(vmm: Vmm, vm: Vm, targets: list[Target]) -> Iterator[ProbeResult]:
    for kind in (AccessKind.READ, AccessKind.WRITE):
        yield _guest_attempt(vmm, vm, kind, Target("memory past its end", Hpa(vm.end_of_memory)))
        for name, address in REGISTERS:
            yield _guest_attempt(vmm, vm, kind, Target(name, Hpa(address)))
        for target in targets:
            if kind is AccessKind.READ or not _is_own(vm, target.hpa):
                yield _guest_attempt(vmm, vm, kind, target)


def _guest_attempt(vmm: Vmm, vm: Vm, kind: AccessKind, target: Target) -> ProbeResult:
    """Use the target's host address as a guest-physical one."""
    got: list[bytes] = []
    exits = vmm.run_beside(vm.name, _attempt_program(Gpa(target.hpa), kind, got))
    name = f"guest {kind.name.lower()}"
    violations = [left for left in exits if left.reason is ExitReason.EPT_VIOLATION]
    if violations and not got:
        left = violations[0]
        evidence = f"VM exit 48 at GPA {target.hpa:#x}, {EptViolation.describe(left.qualification)}"
        return ProbeResult(name, vm.name, target.name, True, evidence)
    return ProbeResult(name, vm.name, target.name, *_judge(vmm, vm, target, got[0] if got else None))


def _attempt_program(gpa: Gpa, kind: AccessKind, got: list[bytes]) -> GuestProgram:
    def program(cpu: GuestCpu) -> Running:
        try:
            data = yield Access(gpa, LENGTH, kind, bytes(LENGTH) if kind is AccessKind.WRITE else b"")
        except GuestFault:
            pass
        else:
            got.append(data if isinstance(data, bytes) else b"")
        yield Hlt()

    return program


def _judge(vmm: Vmm, vm: Vm, target: Target, data: bytes | None) -> tuple[bool, str]:
    """Whether an access that went through has stayed away from the target."""
    if data is None:
        return False, "no fault and no data: the outcome is unknown"
    if _is_own(vm, target.hpa) and data != vmm.memory.read(target.hpa, LENGTH):
        return True, f"address {target.hpa:#x} is its own memory, with other contents"
    return False, f"address {target.hpa:#x} was reached"


def _is_own(vm: Vm, address: int) -> bool:
    """Whether the number is an address of the VM's own RAM in the VM's own address space."""
    return any(each.gpa <= address < each.gpa + each.size for each in vm.ranges)


# -- an assigned function's requests ------------------------------------------------------------------------------


def _dma_attempts(vmm: Vmm, vm: Vm, assignment: Assignment, targets: list[Target]) -> Iterator[ProbeResult]:
    for target in (Target("memory past its VM's end", Hpa(vm.end_of_memory)), *targets):
        yield _dma_read(vmm, vm, assignment, target)
        if not _is_own(vm, target.hpa):
            yield _dma_write(vmm, assignment, target)


def _dma_read(vmm: Vmm, vm: Vm, assignment: Assignment, target: Target) -> ProbeResult:
    answer = vmm.root_complex.dma_read(assignment.bdf, Iova(target.hpa), LENGTH)
    recorded = _recorded(vmm)
    actor = assignment.information.name
    if isinstance(answer, DmaFault):
        return ProbeResult("dma read", actor, target.name, True, recorded or str(answer))
    return ProbeResult("dma read", actor, target.name, *_judge(vmm, vm, target, answer))


def _dma_write(vmm: Vmm, assignment: Assignment, target: Target) -> ProbeResult:
    fault = vmm.root_complex.dma_write(assignment.bdf, Iova(target.hpa), bytes(LENGTH))
    recorded = _recorded(vmm)
    evidence = recorded or (str(fault) if fault is not None else f"address {target.hpa:#x} was written")
    return ProbeResult("dma write", assignment.information.name, target.name, fault is not None, evidence)


def _message_attempts(vmm: Vmm, vm: Vm, assignment: Assignment) -> Iterator[ProbeResult]:
    """Messages that a function could send to be taken for another, or for the processor's own."""
    bdf, own = assignment.bdf, assignment.host_vector
    processor = vm.vcpus[0].processor.number
    foreign = f"vector {own + 1:#x}"
    compatibility = COMPATIBILITY_FORMAT | processor << 12
    yield _message(vmm, assignment, "msi in compatibility format", foreign, (compatibility, own + 1))
    for other in (each for vm in vmm.vms for each in vm.assignments.values() if each.bdf != bdf):
        target = f"interrupt of {other.information.name}"
        yield _message(vmm, assignment, "msi of another function", target, (_message_address(vmm, other.bdf), 0))
    yield _message(vmm, assignment, "msi of an unused index", f"index {UNUSED_INDEX}", (UNUSED_ADDRESS, 0))
    yield _message(vmm, assignment, "msi with another vector", foreign, (_message_address(vmm, bdf), own + 1))


def _message_address(vmm: Vmm, bdf: Bdf) -> int:
    """The address that a function's MSI is programmed with."""
    return vmm.root_complex.config_read(bdf, MSI_ADDRESS, 4)


def _message(vmm: Vmm, assignment: Assignment, name: str, target: str, message: tuple[int, int]) -> ProbeResult:
    """Send it, as (address, data); the function's own vector may come of it, no other."""
    vmm.settle_interrupts()
    own = assignment.host_vector
    vmm.root_complex.message(assignment.bdf, *message)
    arrived = {each.vector for each in vmm.root_complex.take_interrupts()} - {FAULT_VECTOR}
    recorded = _recorded(vmm)
    if arrived - {own}:
        evidence = f"arrived as vector {min(arrived - {own}):#x}"
    else:
        evidence = recorded or f"arrived as vector {own:#x}, the function's own"
    blocked = not arrived - {own} and bool(recorded or arrived)
    return ProbeResult(name, assignment.information.name, target, blocked, evidence)


def _recorded(vmm: Vmm) -> str:
    """What the remapping unit has recorded since the last look."""
    return "; ".join(str(fault) for fault in vmm.collect_faults())
