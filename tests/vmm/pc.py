"""A whole modelled PC with a VMM on it, and guest programs, for the tests of the VMM."""

from __future__ import annotations

from dataclasses import dataclass

from vafw.address import Bdf, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.pci.display import Display
from vafw.hw.pci.network_card import NetworkCard
from vafw.hw.pci.root_complex import RootComplex
from vafw.hw.vmx import GuestCpu, GuestProgram, Hlt, LogicalProcessor, Running, Vmcall
from vafw.hw.vtd import RemappingUnit
from vafw.vmm.assignment import FAULT_VECTOR
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.hypercall import Hypercall
from vafw.vmm.remapping import RemappingDriver
from vafw.vmm.vmm import Vmm

MIB = 1 << 20
UNIT = Hpa(0xFED9_0000)
NIC = Bdf(2, 0, 0)
DISPLAY = Bdf(0, 2, 0)


@dataclass(frozen=True, slots=True)
class Pc:
    memory: PhysicalMemory
    root_complex: RootComplex
    nic: NetworkCard
    display: Display
    frames: FrameAllocator
    remapping: RemappingDriver
    vmm: Vmm


def build_pc(processors: int = 2) -> Pc:
    memory = PhysicalMemory(2048 * MIB)
    unit = RemappingUnit(memory)
    memory.map_window(UNIT, 4096, unit)
    root_complex = RootComplex(memory, unit)
    nic = NetworkCard(NIC, root_complex, bytes.fromhex("525400aa0001"))
    display = Display(DISPLAY, root_complex)
    root_complex.attach(nic)
    root_complex.attach(display)
    frames = FrameAllocator(Hpa(256 * MIB), 1024 * MIB)
    remapping = RemappingDriver(memory, frames, UNIT)
    remapping.enable(fault_vector=FAULT_VECTOR)
    logical = [LogicalProcessor(memory, number) for number in range(processors)]
    vmm = Vmm(memory, root_complex, logical, frames, remapping)
    return Pc(memory, root_complex, nic, display, frames, remapping, vmm)


def idles(cpu: GuestCpu) -> Running:
    """A guest that does nothing, whatever interrupts it."""
    while True:
        yield Hlt()


def says(text: str, number: int = Hypercall.LOG) -> GuestProgram:
    """A guest that makes one hypercall about a text and then halts."""

    def program(cpu: GuestCpu) -> Running:
        cpu.write(0x100_0000, text.encode())
        yield Vmcall(number, 0x100_0000, len(text.encode()))
        yield from idles(cpu)

    return program
