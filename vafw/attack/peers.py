"""Attacks that try to get past the remapping unit below it: across a switch, or under somebody else's name (E5, E7)."""

from __future__ import annotations

from typing import Final

from vafw.address import Iova
from vafw.attack import record
from vafw.attack.computer import EVIL, EVIL_PORT, NEIGHBOUR
from vafw.attack.mechanism import Mechanism
from vafw.attack.running import CANARY
from vafw.attack.scenario import Attempt, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.fabric import Acs
from vafw.hw.pci.network_card import NetworkRegister
from vafw.hw.vtd import DmaFault

_RING_ADDRESS: Final = 0x6666_6000


def _forged_requester_id(target: Target) -> Attempt:
    running = target.running
    nic, victim = running.nic.bdf, running.first_appliance
    page = running.page_of(victim)
    last = victim.ranges[-1]
    iova = Iova(last.gpa + last.size - (last.hpa + last.size - page))
    address = iova if not target.lacks(Mechanism.VT_D) else Iova(page)
    yield f"a card behind a switch sends as {nic}, whose tables lead to memory of {victim.name}"
    running.faults()
    answer = running.pc.root_complex.dma_read(nic, address, len(CANARY), sender=EVIL)
    if answer == CANARY:
        return Verdict(f"{EVIL} read memory of {victim.name} as {nic}")
    if isinstance(answer, DmaFault):
        return record.of_completion(answer)
    return Verdict("the bytes that came back are not those that were asked for", Mechanism.VT_D)


def _peer_to_peer(target: Target) -> Attempt:
    running = target.running
    evil, neighbour = running.computer.evil, running.computer.neighbour
    register = NetworkRegister.RX_RING
    address = running.pc.root_complex.bar(NEIGHBOUR) + register
    yield f"a card writes to {address:#x}, the ring register of the card beside it below the same switch"
    running.faults()
    fault = evil.dma_write(address, _RING_ADDRESS.to_bytes(4, "little"))
    if neighbour.mmio_read(register, 4) == _RING_ADDRESS:
        neighbour.reset_registers()
        return Verdict(f"{EVIL} moved the receive ring of {NEIGHBOUR} to {_RING_ADDRESS:#x}")
    recorded = running.faults()
    services = running.pc.function(EVIL_PORT).acs
    if Acs.REQUEST_REDIRECT in services:
        met = recorded[0] if recorded else fault
        return Verdict(
            f"port {EVIL_PORT} sent the request up (P2P Request Redirect), where it ended: {met}", Mechanism.ACS
        )
    return record.of_fault(recorded[0])


SCENARIOS: Final = (
    Scenario(
        "forged-requester-id",
        "A card sends its requests under the requester id of the network card.",
        "S4, E7",
        (layer(Mechanism.ACS),),
        _forged_requester_id,
    ),
    Scenario(
        "peer-to-peer",
        "A card writes to the registers of a card beside it, below a switch.",
        "S4, E5",
        (layer(Mechanism.ACS),),
        _peer_to_peer,
    ),
)
