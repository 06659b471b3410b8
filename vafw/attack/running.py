"""The PC under attack with every VM of the plan up: whom an attacker sits in, and what he may not reach.

Brought up as `vafw up` does it, through the gate. Then the mechanisms that are off are switched off in the hardware
itself, by its registers and tables, the way a VMM would have set them that never knew of them.
"""

from __future__ import annotations

from typing import Final, final

from vafw.address import PAGE_SIZE, Bdf, Gpa, Hpa
from vafw.attack.computer import Computer
from vafw.attack.mechanism import Mechanism
from vafw.attack.scenario import NotApplicable
from vafw.errors import VafwError
from vafw.fabric import Acs
from vafw.hw.pc import REMAPPING_UNIT
from vafw.hw.pci.acs import ACS_CAPABILITY, ACS_CONTROL
from vafw.hw.pci.function import PciFunction
from vafw.hw.vtd.bits import Irte
from vafw.hw.vtd.registers import GlobalCommand, InterruptTableAddress
from vafw.machine.inventory import DeviceClass
from vafw.plan.plan import VmPlan, VmRole
from vafw.provider.model import image
from vafw.provider.model.guest import guest_kernel
from vafw.provider.model.machine import ModelMachine
from vafw.trace import Value
from vafw.vmm.ept_tables import RW
from vafw.vmm.frames import OutOfFrames
from vafw.vmm.remapping import FaultRecord
from vafw.vmm.remapping_registers import UnitRegisters
from vafw.vmm.vm import Vm
from vafw.vmm.vmm import Vmm

CANARY: Final = b"what nobody else may read, and nobody else may write, ever again"
"""64 bytes that stand in memory under attack."""


@final
class Running:
    """One PC with its VMs."""

    def __init__(self, computer: Computer, without: frozenset[Mechanism]) -> None:
        """Boot, pass the gate, start every VM."""
        self.computer = computer
        self.pc = computer.pc
        self.memory = computer.pc.memory
        self._without = without
        computer.boot()
        if Mechanism.GATE not in without and Mechanism.TXT not in without:
            computer.ask().require_open()
        machine = ModelMachine(computer.plan, computer.pc)
        machine.build()
        self.vmm: Vmm = machine.vmm
        self._switch_off()
        for vm in computer.plan.vms:
            self._start(vm)
        machine.settle(0)
        self.vmm.take_records()

    # -- who is who ---------------------------------------------------------------------------------------------

    @property
    def user_os(self) -> Vm:
        """The VM of the user's operating system."""
        return self.vmm.vm(self._named(VmRole.USER_OS)[0].name)

    @property
    def appliances(self) -> tuple[Vm, ...]:
        """Every appliance, from the wire inwards."""
        return tuple(self.vmm.vm(each.name) for each in self._named(VmRole.APPLIANCE))

    @property
    def first_appliance(self) -> Vm:
        """The one that has the network card."""
        return next(vm for vm in self.appliances if self.computer.plan.wire.bdf in vm.assignments)

    @property
    def nic(self) -> PciFunction:
        """The network card on the wire."""
        return self.pc.function(self.computer.plan.wire.bdf)

    def another_appliance(self) -> Vm:
        """An appliance without the network card."""
        found = next((vm for vm in self.appliances if vm is not self.first_appliance), None)
        if found is None:
            raise NotApplicable("the path must have two appliances for one to attack another")
        return found

    def display(self) -> Bdf:
        """The display of the user OS."""
        owner = self.computer.plan.vm(self.user_os.name)
        found = next((each.bdf for each in owner.functions if each.device_class is DeviceClass.DISPLAY), None)
        if found is None:
            raise NotApplicable("the user OS must have a display to draw on")
        return found

    # -- what may not be reached --------------------------------------------------------------------------------

    def page_of(self, vm: Vm) -> Hpa:
        """The last page of a VM's memory, with the canary in it."""
        last = vm.ranges[-1]
        return self._planted(Hpa(last.hpa + last.size - PAGE_SIZE))

    def page_of_vmm(self) -> Hpa:
        """A page of the VMM's own, as high in memory as there is one, with the canary in it."""
        align = 1 << self.memory.size.bit_length() - 1
        while align >= PAGE_SIZE:
            try:
                return self._planted(self.vmm.frames.allocate(align=align))
            except OutOfFrames:
                align >>= 1
        raise NotApplicable("the VMM must have a free page")

    def give_back(self, page: Hpa) -> None:
        """Free a page of the VMM's own."""
        self.memory.clear(page, PAGE_SIZE)
        self.vmm.frames.release(page)

    def faults(self) -> tuple[FaultRecord, ...]:
        """What the remapping unit has recorded since the last call."""
        return self.vmm.collect_faults()

    def expose(self, vm: Vm, page: Hpa) -> None:
        """Where EPT is off a guest's physical addresses are the host's: let a page stand at its own address."""
        if Mechanism.EPT in self._without and not self.is_own(vm, page):
            vm.tables.map(Gpa(page), page, PAGE_SIZE, RW)

    def hide(self, vm: Vm, page: Hpa) -> None:
        """Undo `expose`."""
        if Mechanism.EPT in self._without and not self.is_own(vm, page):
            vm.tables.unmap(Gpa(page), PAGE_SIZE)
            vm.memory.forget()

    @staticmethod
    def is_own(vm: Vm, address: int) -> bool:
        """Whether the number is an address of the VM's own memory in its own address space."""
        return any(each.gpa <= address < each.gpa + each.size for each in vm.ranges)

    # -- machinery ----------------------------------------------------------------------------------------------

    def _planted(self, page: Hpa) -> Hpa:
        self.memory.write(page, CANARY)
        return page

    def _named(self, role: VmRole) -> list[VmPlan]:
        return [vm for vm in self.computer.plan.vms if vm.role is role]

    def _start(self, vm: VmPlan) -> None:
        loaded = next(each for each in self.computer.supplies.images if each.name == vm.image.name)
        config: dict[str, Value] = dict(vm.config)
        if vm.role is VmRole.USER_OS:
            config |= {"name": self.computer.plan.name, "mode": "stack"}
        self.vmm.start(vm.name, guest_kernel(image.program(loaded, vm.image.program).create), config)
        self.vmm.run_until_idle()
        health = self.vmm.vm(vm.name).health
        if health is None or not health.healthy:
            raise VafwError(f"{vm.name} must be healthy before it is attacked: {health.reason if health else 'silent'}")

    def _switch_off(self) -> None:
        registers = UnitRegisters(self.memory, REMAPPING_UNIT)
        if Mechanism.SOURCE_ID in self._without:
            self._forget_sources(registers)
        if Mechanism.INTERRUPT_REMAPPING in self._without:
            registers.switch(GlobalCommand.pack(IRE=1), on=False)
        if Mechanism.VT_D in self._without:
            registers.switch(GlobalCommand.pack(TE=1), on=False)
        if Mechanism.ACS in self._without:
            self._open_ports()

    def _forget_sources(self, registers: UnitRegisters) -> None:
        """Every interrupt entry serves whoever names it (SVT 0); none has been used yet, so nothing is remembered."""
        table = registers.read(InterruptTableAddress)
        for at in range(table.IRTA << 12, (table.IRTA << 12) + (2 << table.S) * 16, 16):
            entry = int.from_bytes(self.memory.read(Hpa(at), 16), "little")
            if Irte.P.get(entry):
                self.memory.write(Hpa(at), (entry & ~Irte.SVT.mask).to_bytes(16, "little"))

    def _open_ports(self) -> None:
        root_complex = self.pc.root_complex
        for function in root_complex.functions:
            at = function.config.capability(ACS_CAPABILITY)
            if at is not None:
                root_complex.config_write(function.bdf, at + ACS_CONTROL, 2, Acs.NONE)
