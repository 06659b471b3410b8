"""Attacks by DMA on a running machine: a card that writes where it was told by somebody who is not its owner (E1)."""

from __future__ import annotations

from typing import Final

from vafw.address import Bdf, Hpa, Iova
from vafw.attack import record
from vafw.attack.computer import EVIL
from vafw.attack.mechanism import Mechanism
from vafw.attack.running import CANARY, Running
from vafw.attack.scenario import Attempt, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.hw.pci.function import PciFunction
from vafw.hw.vtd import DmaFault
from vafw.vmm.vm import Vm

_STORM: Final = 1000
PAYLOAD: Final = b"written by a device that had no business here".ljust(len(CANARY), b".")


def _nic_writes_user_os(target: Target) -> Attempt:
    running = target.running
    page = running.page_of(running.user_os)
    yield f"the network card's firmware, owned from the wire, writes to {page:#x}, memory of {running.user_os.name}"
    return _written(running, running.nic, running.first_appliance, page)


def _nic_reads_user_os(target: Target) -> Attempt:
    running = target.running
    page = running.page_of(running.user_os)
    yield f"the network card reads {page:#x}, memory of {running.user_os.name}, to send it out on the wire"
    return _read(running, running.nic, running.first_appliance, page)


def _nic_writes_vmm(target: Target) -> Attempt:
    running = target.running
    page = running.page_of_vmm()
    yield f"the network card writes to {page:#x}, memory of the VMM, where its tables stand"
    verdict = _written(running, running.nic, running.first_appliance, page)
    running.give_back(page)
    return verdict


def _nic_writes_another_appliance(target: Target) -> Attempt:
    running = target.running
    victim = running.another_appliance()
    page = running.page_of(victim)
    yield f"the network card writes to {page:#x}, memory of {victim.name}, to rewrite the rules that it enforces"
    return _written(running, running.nic, running.first_appliance, page)


def _card_in_quarantine(target: Target) -> Attempt:
    running = target.running
    page = running.page_of(running.user_os)
    evil = running.computer.evil
    yield f"a card that no VM has was left with bus mastering on, and reads {page:#x}, memory of the user OS"
    return _read(running, evil, None, page)


def _phantom_function(target: Target) -> Attempt:
    running = target.running
    page = running.page_of(running.user_os)
    phantom = Bdf(EVIL.bus, EVIL.device, 4)
    yield f"a card sends as {phantom}, a function that no table knows, and reads memory of the user OS"
    answer = running.pc.root_complex.dma_read(phantom, Iova(page), len(CANARY), sender=EVIL)
    return _judged(running, answer, page)


def _fault_storm(target: Target) -> Attempt:
    """The fault registers are few: one that overflows must still let nothing through."""
    running = target.running
    page = running.page_of(running.user_os)
    yield f"the network card floods the unit with {_STORM} requests that are blocked, under several ids"
    running.faults()
    for number in range(_STORM):
        function = Bdf(EVIL.bus, EVIL.device, number % 8)
        running.pc.root_complex.dma_read(function, Iova(number << 12), 4, sender=EVIL)
    yield f"and writes to {page:#x}, memory of the user OS, while no fault can be recorded"
    fault = running.nic.dma_write(page, PAYLOAD)
    if running.memory.read(page, len(PAYLOAD)) == PAYLOAD:
        running.memory.write(page, CANARY)
        return Verdict(f"{running.nic.bdf} wrote {len(PAYLOAD)} bytes at host address {page:#x}")
    kept = len(running.faults())
    if fault is None:
        return _led_elsewhere(running, running.first_appliance, page)
    return Verdict(
        f"{fault}; {kept} of {_STORM} requests before it were recorded", record.of_completion(fault).stopped_by
    )


def _written(running: Running, card: PciFunction, owner: Vm, page: Hpa) -> Verdict:
    running.faults()
    fault = card.dma_write(page, PAYLOAD)
    if running.memory.read(page, len(PAYLOAD)) == PAYLOAD:
        running.memory.write(page, CANARY)
        return Verdict(f"{card.bdf} wrote {len(PAYLOAD)} bytes at host address {page:#x}")
    return _blocked(running, fault) or _led_elsewhere(running, owner, page)


def _read(running: Running, card: PciFunction, owner: Vm | None, page: Hpa) -> Verdict:
    running.faults()
    return _judged(running, card.dma_read(page, len(CANARY)), page, owner)


def _judged(running: Running, answer: bytes | DmaFault, page: Hpa, owner: Vm | None = None) -> Verdict:
    if answer == CANARY:
        return Verdict(f"{len(CANARY)} bytes of host address {page:#x} were read")
    blocked = _blocked(running, answer if isinstance(answer, DmaFault) else None)
    if blocked is None and owner is not None:
        return _led_elsewhere(running, owner, page)
    return blocked or Verdict("the bytes that came back are not those that were asked for", Mechanism.VT_D)


def _blocked(running: Running, fault: DmaFault | None) -> Verdict | None:
    """What the remapping unit recorded, or else what the card was answered."""
    recorded = running.faults()
    if recorded:
        return record.of_fault(recorded[0])
    return record.of_completion(fault) if fault is not None else None


def _led_elsewhere(running: Running, owner: Vm, page: Hpa) -> Verdict:
    """No fault, and the memory is untouched: the card's address space has a page of its owner's there."""
    landed = next(each.hpa + page - each.gpa for each in owner.ranges if each.gpa <= page < each.gpa + each.size)
    return Verdict(f"address {page:#x} led to {landed:#x}, memory of {owner.name} itself", Mechanism.VT_D)


SCENARIOS: Final = (
    Scenario(
        "nic-writes-user-os",
        "A network card gone bad writes into the user's operating system.",
        "S4, S7, E1",
        (layer(Mechanism.VT_D),),
        _nic_writes_user_os,
    ),
    Scenario(
        "nic-reads-user-os",
        "A network card gone bad reads the user's memory to send it out.",
        "S4, S7, E1",
        (layer(Mechanism.VT_D),),
        _nic_reads_user_os,
    ),
    Scenario(
        "nic-writes-vmm",
        "A network card gone bad writes into the VMM, where the tables of all VMs stand.",
        "S4, S15, E1",
        (layer(Mechanism.VT_D),),
        _nic_writes_vmm,
    ),
    Scenario(
        "nic-writes-appliance",
        "A network card gone bad writes into an appliance that is not its own.",
        "S4, S13, E1",
        (layer(Mechanism.VT_D),),
        _nic_writes_another_appliance,
    ),
    Scenario(
        "unowned-card",
        "A card that belongs to no VM reads the user's memory.",
        "S4, E8",
        (layer(Mechanism.VT_D),),
        _card_in_quarantine,
    ),
    Scenario(
        "fault-storm",
        "A network card hides its write behind a flood of requests that are blocked.",
        "S7, E15",
        (layer(Mechanism.VT_D),),
        _fault_storm,
    ),
    Scenario(
        "phantom-function",
        "A card sends under a function number of its own that no table knows.",
        "S4, E7",
        (layer(Mechanism.VT_D),),
        _phantom_function,
    ),
)
