"""The virtual machine monitor: owns memory, processors and devices, and lends them to VMs.

    create_vm ──▶ assign, wire ──▶ start ──▶ run_until_idle ⟲ ──▶ stop         a guest that dies is stopped the same way

Frames come from one allocator and belong to one VM; this is the only module that maps any. Not an operating system: VMs
run one after the other until all are idle, on behalf of whoever calls `run_until_idle`, and nothing here knows of time
but for the number it is given.

The hard part is taking a VM apart (`_tear_down`), because whatever is lent must be out of reach before it is anybody
else's: links first, so that traffic stops; then its functions into quarantine, caches emptied, and reset; then its
processors and translations; and only then are its frames scrubbed and given back. A step that fails ends the sequence,
and what could not be taken back for sure stays lost rather than shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

from vafw.address import PAGE_SIZE, PAGE_SIZE_2M, Bdf, Gpa
from vafw.errors import NoSuchObject
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.pci.root_complex import RootComplex
from vafw.hw.vmx.bits import CR4_VMXE, REVISION
from vafw.hw.vmx.ept import EptCapability
from vafw.hw.vmx.exit import VmExit
from vafw.hw.vmx.guest import GuestProgram
from vafw.hw.vmx.processor import InveptType, LogicalProcessor
from vafw.hw.vmx.vmcs import blank_region
from vafw.trace import EventKind, Value
from vafw.vmm.assignment import FAULT_VECTOR, FunctionRoster
from vafw.vmm.boot import BOOT_GPA
from vafw.vmm.ept_tables import EptTables
from vafw.vmm.exits import ExitTable, VmFailed
from vafw.vmm.frames import FrameAllocator, OutOfFrames
from vafw.vmm.guest_memory import GuestMemory
from vafw.vmm.hypercall import HypercallTable
from vafw.vmm.link import Link
from vafw.vmm.port import LinkPort
from vafw.vmm.record import Journal, VmmRecord
from vafw.vmm.refusal import VmmError
from vafw.vmm.remapping import FaultRecord, RemappingDriver
from vafw.vmm.vcpu import Vcpu, VmxFailure
from vafw.vmm.vm import MemoryRange, Vector, Vm, VmState, memory_layout
from vafw.vmm.wiring import Wiring

TURN: Final = 512
"""VM exits of one VM before the next one has its turn."""
DEFAULT_BUDGET: Final = 1_000_000
"""VM exits of one `run_until_idle`."""


@final
class Vmm:
    """The VMM of one PC, running in VMX root operation on every logical processor."""

    def __init__(
        self,
        memory: PhysicalMemory,
        root_complex: RootComplex,
        processors: Sequence[LogicalProcessor],
        frames: FrameAllocator,
        remapping: RemappingDriver,
        *,
        capability: EptCapability | None = None,
    ) -> None:
        """`remapping` is enabled already: no device reaches anything. Enters VMX operation; VmmError if it cannot."""
        if not processors:
            raise VmmError("a VMM must have at least one logical processor")
        self.memory = memory
        self.root_complex = root_complex
        self.remapping = remapping
        self.frames = frames
        self._processors = {each.number: each for each in processors}
        self._capability = capability or EptCapability()
        self._journal = Journal()
        self.wiring = Wiring(self._journal)
        self._vms: dict[str, Vm] = {}
        self._functions = FunctionRoster(root_complex, remapping, self._journal)
        self._hypercalls = HypercallTable(self.wiring, self._journal, self._interrupt_port)
        self._exits = ExitTable(self._hypercalls, self._journal, self._on_interrupt)
        self._vpids = 0
        for processor in processors:
            self._enter_vmx(processor)

    # -- VMs --------------------------------------------------------------------------------------------------

    @property
    def vms(self) -> tuple[Vm, ...]:
        """Every VM, in the order of creation; those that stopped or failed too, until their name is used again."""
        return tuple(self._vms.values())

    def vm(self, name: str) -> Vm:
        """The VM of that name; NoSuchObject where there is none."""
        if name not in self._vms:
            raise NoSuchObject(f"a VM must be one of {', '.join(self._vms) or '(none)'}, not {name!r}")
        return self._vms[name]

    def create_vm(self, name: str, memory_bytes: int, vcpus: int = 1) -> Vm:
        """A VM with zeroed memory and nothing else; OutOfFrames where the host has no room for it."""
        old = self._vms.get(name)
        if old is not None and old.state in (VmState.CREATED, VmState.RUNNING):
            raise VmmError(f"VM {name!r} must be stopped before its name is used again")
        if vcpus < 1:
            raise VmmError(f"a VM must have at least one virtual processor, not {vcpus}")
        ranges = self._allocate(memory_layout(memory_bytes))
        tables = EptTables(self.memory, self.frames)
        for each in ranges:
            tables.map(each.gpa, each.hpa, each.size)
        guest_memory = GuestMemory(self.memory, tables.eptp, self._capability)
        chosen = self._processor_for(len(self._vms))
        vm = Vm(name, ranges, tables, guest_memory, [self._new_vcpu(chosen, tables) for _ in range(vcpus)])
        for application in vm.vcpus[1:]:
            application.waiting_for_sipi = True
        self._vms.pop(name, None)
        self._vms[name] = vm
        return vm

    def assign(self, vm_name: str, bdf: Bdf, *, name: str, port: str | None = None) -> None:
        """Give a function to a VM that has not started; all of it or nothing. `port` names what a NIC feeds."""
        vm = self._require(vm_name, VmState.CREATED)
        if port is not None and self._port_names(vm) & {port}:
            raise VmmError(f"port {vm_name}.{port} must be fed by one function or link")
        self._functions.assign(vm, bdf, name, port)

    def wire(self, link: str, outer: tuple[str, str], inner: tuple[str, str]) -> Link:
        """Join two ports given as (VM, port); a port comes into being with its first link, before its VM starts."""
        return self.wiring.wire(link, self._port(*outer), self._port(*inner))

    def unwire(self, link: str) -> None:
        """Part them."""
        for port in self.wiring.unwire(link):
            self._interrupt_port(port)

    def start(self, vm_name: str, program: GuestProgram, config: Mapping[str, Value] | None = None) -> None:
        """Leave the boot description in the VM's memory, its code at its entry point, and let it run from now on."""
        vm = self._require(vm_name, VmState.CREATED)
        vm.memory.write(BOOT_GPA, vm.boot_information(config or {}).encode())
        vm.vcpus[0].place(program)
        vm.state = VmState.RUNNING
        self._journal.write(EventKind.VM_STARTED, vm_name, memory=vm.memory_bytes, vcpus=len(vm.vcpus))

    def configure(self, vm_name: str, config: Mapping[str, Value]) -> None:
        """Leave another configuration in a running VM's memory and tell its kernel; `Vm.configured` is its answer."""
        vm = self._require(vm_name, VmState.RUNNING)
        vm.configured = None
        vm.memory.write(BOOT_GPA, vm.boot_information(config).encode())
        vm.interrupt(Vector.CONFIGURE)

    def stop(self, vm_name: str) -> None:
        """End a VM: links parted, functions in quarantine and reset, memory scrubbed and free. Idempotent."""
        vm = self.vm(vm_name)
        if vm.state in (VmState.CREATED, VmState.RUNNING):
            self._end(vm, VmState.STOPPED, "stopped")

    # -- running ----------------------------------------------------------------------------------------------

    def set_time(self, now_ns: int) -> None:
        """Move the time-stamp counters; guests whose timer is due are interrupted."""
        for processor in self._processors.values():
            processor.tsc = now_ns
        for vm in self._vms.values():
            if vm.state is VmState.RUNNING and vm.deadline_ns is not None and vm.deadline_ns <= now_ns:
                vm.deadline_ns = None
                vm.interrupt(Vector.TIMER)

    def set_wall_clock(self, wall_ns: int) -> None:
        """The time, in nanoseconds since 1970, UTC, at which the TSC was 0; guests are told that it is known."""
        self._hypercalls.wall_ns = wall_ns
        for vm in self._vms.values():
            if vm.state is VmState.RUNNING:
                vm.interrupt(Vector.CLOCK)

    @property
    def next_deadline_ns(self) -> int | None:
        """When the next guest's timer is due; None where none is set."""
        due = [vm.deadline_ns for vm in self._vms.values() if vm.state is VmState.RUNNING]
        return min((each for each in due if each is not None), default=None)

    def interrupt(self, vm_name: str, vector: Vector) -> None:
        """Make a vector of the VMM's own pending: report, probe, draw."""
        self._require(vm_name, VmState.RUNNING).interrupt(vector)

    def run_until_idle(self, budget: int = DEFAULT_BUDGET) -> bool:
        """Run VMs in turn until each waits for an interrupt; False where `budget` VM exits did not suffice."""
        self.settle_interrupts()
        while ready := [vm for vm in self._vms.values() if vm.runnable]:
            for vm in ready:
                budget -= self._turn(vm)
                self.settle_interrupts()
            if budget <= 0:
                return False
        return True

    def run_beside(self, vm_name: str, program: GuestProgram) -> tuple[VmExit, ...]:
        """Run a program to its first HLT on an extra virtual processor of a VM; returns its VM exits.

        What it dies of is its own affair, and ends nothing but itself.
        """
        vm = self._require(vm_name, VmState.RUNNING)
        extra = self._new_vcpu(vm.vcpus[0].processor, vm.tables)
        extra.place(program)
        exits: list[VmExit] = []
        try:
            extra.load()
            while not extra.halted and len(exits) < TURN:
                exits.append(extra.enter())
                self._exits.dispatch(vm, extra, exits[-1])
        except VmFailed:
            pass
        finally:
            extra.retire()
            self.frames.release(extra.region)
        return tuple(exits)

    def settle_interrupts(self) -> None:
        """Take what devices have raised from their processors' local APICs, and make it pending for its VMs."""
        for interrupt in self.root_complex.take_interrupts():
            processor = self._processors.get(interrupt.destination)
            if processor is None:
                continue
            processor.raise_interrupt(interrupt.vector)
            while (vector := processor.acknowledge_interrupt()) is not None:
                self._on_interrupt(vector)

    def collect_faults(self) -> tuple[FaultRecord, ...]:
        """Read what the remapping unit has blocked since the last time, and journal it."""
        return self._functions.collect_faults(self._vms.values())

    def take_records(self) -> tuple[VmmRecord, ...]:
        """What happened since the last call, faults that the remapping unit recorded included."""
        self.collect_faults()
        return self._journal.take()

    # -- machinery --------------------------------------------------------------------------------------------

    def _turn(self, vm: Vm) -> int:
        """Run one VM until it waits or its turn is over; returns how many VM exits that took."""
        vcpu = vm.vcpus[0]
        exits = 0
        try:
            vcpu.load()
            while vm.runnable and exits < TURN:
                if vcpu.halted:
                    vector = next(iter(vm.pending))
                    del vm.pending[vector]
                    vcpu.inject_interrupt(vector)
                    vcpu.halted = False
                self._exits.dispatch(vm, vcpu, vcpu.enter())
                exits += 1
        except (VmFailed, VmxFailure) as failure:
            self._end(vm, VmState.FAILED, str(failure))
        return exits + 1

    def _on_interrupt(self, host_vector: int) -> None:
        """A host vector is a function's, and so its VM's; the vector of a function that is gone is nobody's."""
        if host_vector == FAULT_VECTOR:
            self.collect_faults()
        found = self._functions.owner_of(host_vector)
        if found is not None:
            vm, guest_vector = found
            vm.interrupt(guest_vector)

    def _interrupt_port(self, port: LinkPort) -> None:
        self.vm(port.vm).interrupt(port.vector)

    def _end(self, vm: Vm, state: VmState, why: str) -> None:
        """The VM runs no more from here on, whatever else goes wrong."""
        vm.state = state
        vm.ended = why
        vm.pending.clear()
        vm.deadline_ns = None
        kind = EventKind.VM_FAILED if state is VmState.FAILED else EventKind.VM_STOPPED
        self._journal.write(kind, vm.name, why=why)
        self._tear_down(vm)

    def _tear_down(self, vm: Vm) -> None:
        """Take back what was lent, in the order that the module's header explains."""
        for port in self.wiring.unwire_vm(vm.name):
            self._interrupt_port(port)
        self._functions.release_all(vm)
        self.settle_interrupts()
        self._functions.forget(vm)
        vm.memory.forget()
        for vcpu in vm.vcpus:
            vcpu.retire()
            self.frames.release(vcpu.region)
        for processor in self._processors.values():
            processor.invept(InveptType.SINGLE_CONTEXT, vm.tables.eptp)
        vm.tables.release()
        self._scrub(vm.ranges)
        for each in vm.ranges:
            self.frames.release(each.hpa, each.size // PAGE_SIZE)

    def _scrub(self, ranges: Sequence[MemoryRange]) -> None:
        for each in ranges:
            self.memory.clear(each.hpa, each.size)

    def _allocate(self, layout: Sequence[tuple[Gpa, int]]) -> tuple[MemoryRange, ...]:
        """Zeroed frames for a VM's memory, all or none."""
        ranges: list[MemoryRange] = []
        try:
            for gpa, size in layout:
                hpa = self.frames.allocate(size // PAGE_SIZE, align=PAGE_SIZE_2M)
                ranges.append(MemoryRange(gpa, hpa, size))
        except OutOfFrames:
            for each in ranges:
                self.frames.release(each.hpa, each.size // PAGE_SIZE)
            raise
        self._scrub(ranges)
        return tuple(ranges)

    def _new_vcpu(self, processor: LogicalProcessor, tables: EptTables) -> Vcpu:
        """With a VPID that none had before it."""
        self._vpids += 1
        region = self.frames.allocate()
        return Vcpu(self.memory, processor, region, vpid=self._vpids & 0xFFFF or 1, eptp=tables.eptp)

    def _processor_for(self, number: int) -> LogicalProcessor:
        return tuple(self._processors.values())[number % len(self._processors)]

    def _enter_vmx(self, processor: LogicalProcessor) -> None:
        region = self.frames.allocate()
        blank_region(self.memory, region, REVISION)
        processor.cr4 |= CR4_VMXE
        failed = processor.vmxon(region)
        if failed is not None:
            raise VmxFailure(f"VMXON on processor {processor.number} must succeed: {failed}")

    def _require(self, vm_name: str, state: VmState) -> Vm:
        vm = self.vm(vm_name)
        if vm.state is not state:
            raise VmmError(f"VM {vm_name!r} must be {state} for that, but it is {vm.state}")
        return vm

    def _port_names(self, vm: Vm) -> set[str]:
        fed = {each.information.port for each in vm.assignments.values() if each.information.port}
        return fed | {each.name for each in vm.ports}

    def _port(self, vm_name: str, name: str) -> LinkPort:
        vm = self.vm(vm_name)
        if vm.state not in (VmState.CREATED, VmState.RUNNING):
            raise VmmError(f"VM {vm_name!r} must be there to be wired, but it is {vm.state}")
        found = next((each for each in vm.ports if each.name == name), None)
        if found is not None:
            return found
        self._require(vm_name, VmState.CREATED)
        if name in self._port_names(vm):
            raise VmmError(f"port {vm_name}.{name} must be fed by one function or link")
        number = len(vm.ports)
        if Vector.FIRST_PORT + number >= Vector.FIRST_FUNCTION:
            raise VmmError(f"VM {vm_name!r} must have at most {number} link ports")
        port = LinkPort(vm_name, name, number, Vector.FIRST_PORT + number, vm.memory)
        vm.ports.append(port)
        return port
