"""Which PCI function belongs to which VM: the one place where functions change hands.

    quarantine ──assign──▶ a VM's ──release──▶ quarantine, bus mastering off, reset

A function reaches its VM's memory under the VM's own addresses, its registers stand in the VM's address space, and its
interrupt is one remapping-table entry that no other function can use. Its configuration space stays the VMM's: a guest
can neither move the BAR, nor change the message, nor turn on anything that speaks past the remapping unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from vafw.address import Bdf, Gpa, Iova
from vafw.errors import VafwError
from vafw.hw.pci.config import (
    BAR_SIZE,
    CLASS_CODE,
    COMMAND,
    DEVICE_CAPABILITIES,
    DEVICE_CONTROL,
    FLR_CAPABLE,
    INITIATE_FLR,
    MSI_ADDRESS,
    MSI_CONTROL,
    MSI_DATA,
    MSI_UPPER_ADDRESS,
    STATUS,
    Command,
    MsiControl,
)
from vafw.hw.pci.root_complex import RootComplex
from vafw.hw.vmx.bits import MemoryType
from vafw.trace import EventKind
from vafw.vmm.boot import FunctionInformation
from vafw.vmm.ept_tables import RW
from vafw.vmm.hand_over import HandOver, HandOverFailed, Phase
from vafw.vmm.record import Journal
from vafw.vmm.refusal import VmmError
from vafw.vmm.remapping import FaultRecord, RemappingDriver
from vafw.vmm.vm import FUNCTION_WINDOWS, Assignment, Vector, Vm

FAULT_VECTOR: Final = 0xF0
"""Host vector of the remapping unit's fault event, where `RemappingDriver.enable` is given it."""
_FIRST_HOST_VECTOR: Final = 0x40
_LAST_HOST_VECTOR: Final = 0xEF
_CLASSES: Final = {0x01: "storage", 0x02: "network", 0x03: "display", 0x04: "audio", 0x06: "bridge", 0x0C: "usb"}
"""Base classes of the PCI Code and ID Assignment Specification, by the names that documents use."""


@final
class FunctionRoster:
    """Every assignment."""

    def __init__(self, root_complex: RootComplex, remapping: RemappingDriver, journal: Journal) -> None:
        self._root_complex = root_complex
        self._remapping = remapping
        self._journal = journal
        self._owners: dict[int, tuple[Vm, int]] = {}
        """VM and guest vector by host vector."""
        self._hand_overs: dict[Bdf, HandOver] = {}
        """Every function that was assigned once."""

    def owner_of(self, host_vector: int) -> tuple[Vm, int] | None:
        """Whose interrupt a host vector is, and the guest's vector for it."""
        return self._owners.get(host_vector)

    def assign(self, vm: Vm, bdf: Bdf, name: str, port: str | None) -> None:
        """Give a function in quarantine to a VM; where a step fails the ones before are undone."""
        if self._root_complex.config_read(bdf, STATUS, 2) == 0xFFFF:  # the ids of a virtual function read so too
            raise VmmError(f"function {name} must be there to be assigned, but nothing answers at {bdf}")
        hand_over = self._hand_over(bdf)
        if hand_over.phase is Phase.FAILED:
            hand_over.recover()
        if hand_over.phase is not Phase.QUARANTINE or self._remapping.domain_of(bdf) is not None:
            raise VmmError(f"function {name} at {bdf} must be released before it is assigned again")
        if not self._root_complex.config_read(bdf, DEVICE_CAPABILITIES, 4) & FLR_CAPABLE:
            raise VmmError(f"function {name} at {bdf} must have a function-level reset to change hands")
        number = len(vm.assignments)
        if Vector.FIRST_FUNCTION + number >= Vector.END:
            raise VmmError(f"VM {vm.name!r} must have at most {number} functions")
        information = FunctionInformation(
            name, self._class_of(bdf), FUNCTION_WINDOWS + number * BAR_SIZE, Vector.FIRST_FUNCTION + number, port
        )
        assignment = Assignment(bdf, information, self._free_host_vector())
        try:
            self._open(vm, assignment)
        except HandOverFailed:
            vm.tables.unmap(Gpa(information.window), BAR_SIZE)
            raise
        except VafwError:
            self._close(vm, assignment)
            raise
        vm.assignments[bdf] = assignment
        self._journal.write(
            EventKind.DEVICE_ASSIGNED, name, vm=vm.name, bdf=str(bdf), domain=vm.domain, vector=assignment.host_vector
        )

    def release_all(self, vm: Vm) -> None:
        """Put every function of a VM into quarantine and reset it; end the VM's domain.

        HandOverFailed where one of them could not be: the others have been, and the VM's memory must stay out of use.
        """
        failed: HandOverFailed | None = None
        for assignment in vm.assignments.values():
            try:
                self._close(vm, assignment)
            except HandOverFailed as error:
                failed = failed or error
                continue
            self._journal.write(
                EventKind.DEVICE_RELEASED, assignment.information.name, vm=vm.name, bdf=str(assignment.bdf)
            )
        if failed is not None:
            raise failed
        if vm.domain is not None:
            self._remapping.destroy_domain(vm.domain)
            vm.domain = None

    def forget(self, vm: Vm) -> None:
        """Free a VM's host vectors, once no interrupt that still carries one can be on its way."""
        for assignment in vm.assignments.values():
            self._owners.pop(assignment.host_vector, None)
        vm.assignments.clear()

    def collect_faults(self, vms: Iterable[Vm]) -> tuple[FaultRecord, ...]:
        """Journal what the remapping unit has blocked, under the name of the VM whose function it was."""
        owners = {bdf: vm.name for vm in vms for bdf in vm.assignments}
        faults = self._remapping.faults()
        for fault in faults:
            kind = EventKind.INTERRUPT_FAULT if fault.reason.is_interrupt else EventKind.DMA_FAULT
            self._journal.write(
                kind, owners.get(fault.source, str(fault.source)), source=str(fault.source), fault=str(fault)
            )
        return faults

    def _open(self, vm: Vm, assignment: Assignment) -> None:
        """Memory, registers, interrupt, and last of all the right to master the bus."""
        bdf, information = assignment.bdf, assignment.information
        if vm.domain is None:
            vm.domain = self._new_domain(vm)
        window = Gpa(information.window)
        vm.tables.map(window, self._root_complex.bar(bdf), BAR_SIZE, RW, MemoryType.UC)
        processor = vm.vcpus[0].processor.number
        address, data = self._remapping.map_interrupt(bdf, assignment.host_vector, processor)
        self._owners[assignment.host_vector] = (vm, information.vector)
        self._hand_over(bdf).attach(vm.domain)
        self._program_message(bdf, address, data)
        self._root_complex.set_bus_master(bdf, True)

    def _close(self, vm: Vm, assignment: Assignment) -> None:
        """Nothing leaves the function, nothing reaches it, and nothing of its owner stays in it."""
        bdf = assignment.bdf
        try:
            self._hand_over(bdf).release()
        finally:
            vm.tables.unmap(Gpa(assignment.information.window), BAR_SIZE)
        self._remapping.unmap_interrupt(bdf)

    def _hand_over(self, bdf: Bdf) -> HandOver:
        """The one place where a function changes hands, with every requester id that the fabric lets it use."""
        found = self._hand_overs.get(bdf)
        if found is None or (found.phase is Phase.QUARANTINE):
            aliases = self._root_complex.fabric.requester_ids(bdf)[1:]
            found = HandOver(bdf, _Port(self._root_complex, bdf), self._remapping, aliases=aliases)
            self._hand_overs[bdf] = found
        return found

    def _new_domain(self, vm: Vm) -> int:
        """An address space in which the VM's functions see what the VM sees."""
        domain = self._remapping.create_domain()
        for each in vm.ranges:
            self._remapping.map(domain, Iova(each.gpa), each.hpa, each.size)
        return domain

    def _program_message(self, bdf: Bdf, address: int, data: int) -> None:
        write = self._root_complex.config_write
        write(bdf, MSI_ADDRESS, 4, address & 0xFFFF_FFFF)
        write(bdf, MSI_UPPER_ADDRESS, 4, address >> 32)
        write(bdf, MSI_DATA, 2, data)
        write(bdf, MSI_CONTROL, 2, MsiControl.pack(ENABLE=1))

    def _class_of(self, bdf: Bdf) -> str:
        return _CLASSES.get(self._root_complex.config_read(bdf, CLASS_CODE + 2, 1), "other")

    def _free_host_vector(self) -> int:
        for vector in range(_FIRST_HOST_VECTOR, _LAST_HOST_VECTOR + 1):
            if vector not in self._owners:
                return vector
        raise VmmError("the host must have a free interrupt vector for each assigned function")


@final
@dataclass(frozen=True, slots=True)
class _Port:
    """A function as `hand_over` sees it."""

    root_complex: RootComplex
    bdf: Bdf

    def silence(self) -> None:
        """Bus mastering off."""
        self.root_complex.set_bus_master(self.bdf, False)

    def reset(self) -> bool:
        """Function-level reset; afterwards it decodes its BAR again and may do nothing else."""
        self.root_complex.config_write(self.bdf, DEVICE_CONTROL, 2, INITIATE_FLR)
        command = self.root_complex.config_read(self.bdf, COMMAND, 2)
        message = self.root_complex.config_read(self.bdf, MSI_CONTROL, 2)
        if command & Command.BUS_MASTER.mask or message & MsiControl.pack(ENABLE=1):
            return False
        self.root_complex.enable_decoding(self.bdf)
        return True
