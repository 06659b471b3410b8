"""Attacks by interrupt: a message is a write to 0xFEEx_xxxx, which any device that masters the bus can do (S5, E3)."""

from __future__ import annotations

from typing import Final

from vafw.attack import record
from vafw.attack.mechanism import Mechanism
from vafw.attack.running import Running
from vafw.attack.scenario import Attempt, NotApplicable, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.hw.pci.config import MSI_ADDRESS
from vafw.hw.pci.function import PciFunction
from vafw.hw.vtd import Interrupt
from vafw.vmm.vm import Assignment

_COMPATIBILITY: Final = 0xFEE0_0000
_NMI: Final = 4 << 8
_MACHINE_CHECK: Final = 0x12


def _forged_vector(target: Target) -> Attempt:
    running = target.running
    yield f"the network card writes a message in compatibility format: vector {_MACHINE_CHECK:#x}, as a machine check"
    return _sent(running, running.nic, _COMPATIBILITY, _MACHINE_CHECK)


def _forged_nmi(target: Target) -> Attempt:
    running = target.running
    yield "the network card writes a message in compatibility format: a non-maskable interrupt to processor 0"
    return _sent(running, running.nic, _COMPATIBILITY, _NMI)


def _of_another_function(target: Target) -> Attempt:
    running = target.running
    victim = _other_interrupt(running)
    address = running.pc.root_complex.config_read(victim.bdf, MSI_ADDRESS, 4)
    yield f"the network card writes the message of {victim.information.name}, index and all"
    verdict = _sent(running, running.nic, address, 0, wanted=victim.host_vector)
    if verdict.succeeded:
        return verdict
    yield f"and then vector {victim.host_vector:#x} in compatibility format"
    second = _sent(running, running.nic, _COMPATIBILITY, victim.host_vector)
    return second if second.succeeded else verdict


def _sent(running: Running, card: PciFunction, address: int, data: int, wanted: int | None = None) -> Verdict:
    """Write the message by DMA; success is an interrupt at a processor, of the vector that is wanted if one is."""
    running.vmm.settle_interrupts()
    running.faults()
    card.dma_write(address, data.to_bytes(4, "little"))
    arrived = running.pc.root_complex.take_interrupts()
    found = next((each for each in arrived if wanted in (None, each.vector)), None)
    if found is not None:
        return Verdict(f"processor {found.destination} was interrupted: {_described(found)}")
    recorded = running.faults()
    if recorded:
        return record.of_fault(recorded[0])
    return Verdict("no interrupt arrived, and nothing was recorded", Mechanism.INTERRUPT_REMAPPING)


def _described(interrupt: Interrupt) -> str:
    return f"delivery mode {interrupt.delivery_mode}, vector {interrupt.vector:#x}"


def _other_interrupt(running: Running) -> Assignment:
    """An interrupt that is another function's."""
    found = (each for vm in running.vmm.vms for each in vm.assignments.values() if each.bdf != running.nic.bdf)
    victim = next(found, None)
    if victim is None:
        raise NotApplicable("a second function must be assigned, whose interrupt can be forged")
    return victim


SCENARIOS: Final = (
    Scenario(
        "msi-forged-vector",
        "A network card raises a vector that the processor takes for an exception of its own.",
        "S5, E3",
        (layer(Mechanism.INTERRUPT_REMAPPING),),
        _forged_vector,
    ),
    Scenario(
        "msi-forged-nmi",
        "A network card sends a non-maskable interrupt.",
        "S5, E3",
        (layer(Mechanism.INTERRUPT_REMAPPING),),
        _forged_nmi,
    ),
    Scenario(
        "msi-of-another-function",
        "A network card raises the interrupt of a function that is another VM's.",
        "S5, E3",
        (layer(Mechanism.INTERRUPT_REMAPPING, Mechanism.SOURCE_ID),),
        _of_another_function,
    ),
)
