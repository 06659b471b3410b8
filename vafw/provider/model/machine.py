"""The running half of the modelled PC: the VMM and its VMs, driven from outside one event at a time.

A frame goes in at the wire or at the user's side, and `settle` lets the machine run until every guest waits again; what
came out by then is taken from the cards. Nothing here waits or knows the time but for the number it is handed.

The user's side is an adapter of the model's own: a network card assigned to the user OS that stands for the person at
the keyboard when a capture or a tap plays that part. It exists only then, in no topology, and behind the whole path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

from vafw.address import Bdf, Hpa
from vafw.errors import PlatformUnable
from vafw.fabric import ISOLATING, Acs
from vafw.hw.pc import REMAPPING_UNIT, FunctionDescription, Pc
from vafw.hw.pci import NetworkCard
from vafw.hw.txt.bios_acm import layout_for
from vafw.hw.vtd import UnitCapability
from vafw.machine.inventory import DeviceClass, MachineInventory, PciFunction
from vafw.machine.report import LinkCounters
from vafw.plan.plan import Plan, VmPlan
from vafw.trace import Value
from vafw.vmm.access_control import enable_access_control
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.remapping import RemappingDriver
from vafw.vmm.vm import Vector, VmState
from vafw.vmm.vmm import Vmm

USER_SIDE: Final = Bdf(0xFF, 0, 0)
"""The adapter of the user's side: on a bus that no real machine of these has."""
USER_PORT: Final = "user"
_USER_SIDE_MAC: Final = bytes.fromhex("525400000fff")
_VMM_END: Final = 64 << 20
"""Memory up to here belongs to the loader and the VMM's image."""
_FOUR_GIB: Final = 1 << 32
_WINDOWS: Final = 0xFE00_0000
"""Registers of devices lie from here to 4 GiB."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """What came out of the machine while it settled."""

    wires: Mapping[str, tuple[bytes, ...]]
    """By the network function that it left by, the path's own first."""
    user: tuple[bytes, ...]

    @property
    def wire(self) -> tuple[bytes, ...]:
        """What left by any of them."""
        return tuple(frame for frames in self.wires.values() for frame in frames)


def build_pc(machine: MachineInventory, *, user_side: bool, capability: UnitCapability | None = None) -> Pc:
    """The PC of an inventory, with the adapter of the user's side where frames are to enter there.

    `capability` is what its remapping unit can do, where that is not what the modelled one can.
    """
    functions = [_description(each) for each in machine.functions]
    if user_side:
        functions.append(FunctionDescription(USER_SIDE, "network", 0x1AF4, 0x1041, _USER_SIDE_MAC))
    remapping = machine.iommu.dma_remapping
    return Pc(machine.memory_bytes, functions, processors=machine.vcpus, remapping=remapping, capability=capability)


def _description(function: PciFunction) -> FunctionDescription:
    mac = None
    if function.device_class is DeviceClass.NETWORK:
        mac = bytes.fromhex((function.mac or "52:54:00:00:00:01").replace(":", ""))
    return FunctionDescription(
        function.bdf,
        function.device_class.value,
        function.vendor_id,
        function.device_id,
        mac,
        upstream=function.behind,
        acs=ISOLATING | Acs.TRANSLATION_BLOCKING if function.acs else Acs.NONE,
        port=function.port,
    )


@final
class ModelMachine:
    """The VMM of one PC with the VMs of one plan."""

    def __init__(self, plan: Plan, pc: Pc) -> None:
        """Take the PC over after its launch: the remapping unit goes on, every function into quarantine."""
        self._plan = plan
        self._pc = pc
        frames = _guest_frames(pc)
        remapping = RemappingDriver(pc.memory, frames, REMAPPING_UNIT)
        remapping.enable()
        enable_access_control(pc.root_complex)
        self.vmm = Vmm(pc.memory, pc.root_complex, pc.processors, frames, remapping)
        functions = {each.name: each.bdf for each in plan.machine.functions}
        self._wires = {name: self._card(functions[name]) for name in plan.feeds()}
        self._user = self._card(USER_SIDE) if any(each.bdf == USER_SIDE for each in pc.descriptions) else None
        self.frames_lost = 0
        """Frames that a card could not take: no free descriptor."""

    def build(self) -> None:
        """Create every VM, give it its functions, and wire the links; nothing runs yet."""
        for vm in self._plan.vms:
            self.vmm.create_vm(vm.name, vm.memory_bytes, vm.vcpus)
            for function in vm.functions:
                fed = self._plan.feeds().get(function.name)
                port = fed.port if fed is not None else None
                self.vmm.assign(vm.name, function.bdf, name=function.name, port=port)
        for link in self._plan.links:
            self.vmm.wire(link.name, (link.outer.vm, link.outer.port), (link.inner.vm, link.inner.port))
        if self._user is not None:
            self.vmm.assign(self._plan.vms[-1].name, USER_SIDE, name="user-side", port=USER_PORT)

    @property
    def wires(self) -> tuple[str, ...]:
        """The network functions that a wire is plugged into, the path's own first."""
        return tuple(self._wires)

    def from_wire(self, frame: bytes, function: str | None = None) -> None:
        """A frame arrives at a network card, the path's own where none is named."""
        self.frames_lost += not self._wires[function or self._plan.path[0]].receive(frame)

    def from_user(self, frame: bytes) -> None:
        """The user's side sends a frame."""
        if self._user is None:
            raise PlatformUnable("the user's side must be fed by a capture or a tap to send frames")
        self.frames_lost += not self._user.receive(frame)

    def settle(self, now_ns: int) -> Emitted:
        """Move time to `now_ns`, let every guest work until it waits, and return what came out."""
        self.vmm.set_time(now_ns)
        if not self.vmm.run_until_idle():
            raise PlatformUnable("the VMs must come to rest, and they did not: a guest keeps interrupting another")
        wires = {name: card.take_transmitted() for name, card in self._wires.items()}
        return Emitted(wires, self._user.take_transmitted() if self._user else ())

    def reports(self) -> Mapping[str, Mapping[str, Value]]:
        """What each program says of itself, by VM; asked for now."""
        running = [vm for vm in self.vmm.vms if vm.state is VmState.RUNNING]
        for vm in running:
            vm.report = None
            self.vmm.interrupt(vm.name, Vector.REPORT)
        self.vmm.run_until_idle()
        return {vm.name: vm.report or {} for vm in running}

    def links(self) -> tuple[LinkCounters, ...]:
        """Counters of every link that is wired."""
        return tuple(
            LinkCounters(
                link.name,
                link.inwards.counters.frames,
                link.outwards.counters.frames,
                link.inwards.counters.bytes,
                link.outwards.counters.bytes,
                link.inwards.counters.undelivered + link.outwards.counters.undelivered,
            )
            for link in self.vmm.wiring.links
        )

    def assignments(self) -> tuple[Mapping[str, Value], ...]:
        """One mapping for each function that belongs to a VM."""
        return tuple(
            {
                "device": each.information.name,
                "address": str(each.bdf),
                "vm": vm.name,
                "domain": vm.domain,
                "interrupt": f"vector {each.host_vector:#x}, remapped",
            }
            for vm in self.vmm.vms
            for each in vm.assignments.values()
        )

    def hardware(self) -> Mapping[str, Value]:
        """VM exits of every VM by reason, and memory that was ever written."""
        exits: Counter[str] = Counter()
        for vm in self.vmm.vms:
            exits.update(vm.exits)
        return {"vm-exits": dict(exits), "resident-memory-bytes": self._pc.memory.resident_bytes}

    def _card(self, bdf: Bdf) -> NetworkCard:
        function = self._pc.function(bdf)
        if not isinstance(function, NetworkCard):
            raise PlatformUnable(f"the path must begin at a network function, and {bdf} is none")
        return function


def display_vm(plan: Plan) -> tuple[VmPlan, Bdf] | None:
    """The VM that a display belongs to, and which; None where nobody has one."""
    return next(
        (
            (vm, function.bdf)
            for vm in plan.vms
            for function in vm.functions
            if function.device_class is DeviceClass.DISPLAY
        ),
        None,
    )


def _guest_frames(pc: Pc) -> FrameAllocator:
    """All memory above the VMM's image but the DPR and the windows of devices below 4 GiB."""
    frames = FrameAllocator(Hpa(_VMM_END), pc.memory.size - _VMM_END)
    for start, end in _holes(pc):
        if start < pc.memory.size:
            frames.withhold(Hpa(start), min(end, pc.memory.size) - start)
    return frames


def _holes(pc: Pc) -> Iterable[tuple[int, int]]:
    layout = layout_for(pc.memory)
    yield int(layout.heap_base), layout.top
    yield _WINDOWS, _FOUR_GIB
