"""Attacks at the moment a card, or memory, changes hands: what the last owner left behind (S6, E8 to E11).

    lend ─▶ the card uses it ─▶ take back [forget] ─▶ release [quarantine, reset] ─▶ somebody else's

Each lends pages of the VMM's own to the attacker's card, in a domain of its own, by the VMM's driver. Without a
mechanism the VMM takes the very step that a VMM without it would: it changes the table and does not wait, or it does
not reset.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, final

from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.attack import record
from vafw.attack.computer import EVIL, NEIGHBOUR, SHARED
from vafw.attack.entries import context_entry, leaf_entry
from vafw.attack.mechanism import Mechanism
from vafw.attack.running import CANARY, Running
from vafw.attack.scenario import Attempt, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.fabric import Acs
from vafw.hw.pci.acs import ACS_CAPABILITY, ACS_CONTROL
from vafw.hw.pci.config import DEVICE_CONTROL, INITIATE_FLR
from vafw.hw.pci.network_card import Control, NetworkCard, NetworkRegister
from vafw.hw.pci.ring import Descriptor, RingRegister
from vafw.hw.vtd.bits import ContextEntry, TranslationType
from vafw.vmm.virtual_functions import show_virtual_functions

PAYLOAD: Final = b"a request that was on its way when everything changed".ljust(len(CANARY), b".")


@final
@dataclass
class Lending:
    """Pages lent to the attacker's card, at the same address for the card as for the host."""

    running: Running
    card: NetworkCard
    domain: int
    pages: list[Hpa] = field(default_factory=list)

    def lend(self) -> Hpa:
        """One more page."""
        page = self.running.vmm.frames.allocate()
        self.running.memory.clear(page, PAGE_SIZE)
        self.running.vmm.remapping.map(self.domain, Iova(page), page, PAGE_SIZE)
        self.pages.append(page)
        return page


@contextmanager
def lending(running: Running) -> Iterator[Lending]:
    """A domain for the attacker's card; everything is taken back in the end, whatever happened."""
    remapping = running.vmm.remapping
    remapping.detach(EVIL)
    domain = remapping.create_domain()
    lent = Lending(running, running.computer.evil, domain)
    remapping.attach(EVIL, domain)
    try:
        yield lent
    finally:
        remapping.detach(EVIL)
        remapping.destroy_domain(domain)
        running.pc.root_complex.config_write(EVIL, DEVICE_CONTROL, 2, INITIATE_FLR)
        running.pc.root_complex.enable_decoding(EVIL)
        for page in lent.pages:
            running.give_back(page)
        running.faults()


def _virtual_function(target: Target) -> Attempt:
    """Two virtual functions of one card, for two VMs: each has a requester id, and so a table, of its own."""
    running = target.running
    root_complex, remapping = running.pc.root_complex, running.vmm.remapping
    page = running.page_of_vmm()
    mine, other = show_virtual_functions(root_complex, SHARED, 2)
    domains = [remapping.create_domain(), remapping.create_domain()]
    remapping.map(domains[1], Iova(page), page, PAGE_SIZE)
    for bdf, domain in zip((mine, other), domains, strict=True):
        remapping.attach(bdf, domain)
        root_complex.set_bus_master(bdf, True)
    yield f"virtual functions {mine} and {other} of one card have two owners; the first reads {page:#x} of the second's"
    verdict = _read(running, page, translated=False, source=mine)
    for bdf, domain in zip((mine, other), domains, strict=True):
        remapping.detach(bdf)
        remapping.destroy_domain(domain)
    root_complex.config_write(SHARED, DEVICE_CONTROL, 2, INITIATE_FLR)
    running.give_back(page)
    return verdict


def _stale_translation(target: Target) -> Attempt:
    running = target.running
    with lending(running) as lent:
        page = lent.lend()
        lent.card.dma_write(page, b"in use")
        yield f"a card has used page {page:#x}, so that the unit remembers where it leads"
        if target.lacks(Mechanism.INVALIDATION):
            running.memory.write_u64(leaf_entry(running.memory, EVIL, page), 0)
        else:
            running.vmm.remapping.unmap(lent.domain, Iova(page), PAGE_SIZE)
        running.memory.write(page, CANARY)
        yield "the page is taken back and given to somebody else; the card writes to it again"
        return _written(lent, page, Mechanism.INVALIDATION)


def _in_flight(target: Target) -> Attempt:
    running = target.running
    with lending(running) as lent:
        page = lent.lend()
        yield f"a card is released while a write of its own to {page:#x} is still on its way"
        if not target.lacks(Mechanism.QUARANTINE):
            running.vmm.remapping.detach(EVIL)
        running.memory.write(page, CANARY)
        yield "the page belongs to somebody else when the write arrives"
        return _written(lent, page, Mechanism.QUARANTINE)


def _translated(target: Target) -> Attempt:
    """A translated request walks no table: whoever may send one reaches all of memory."""
    running = target.running
    secret = running.page_of_vmm()
    with lending(running) as lent:
        page = lent.lend()
        if target.lacks(Mechanism.ATS_BLOCK):
            _grant_ats(running)
        lent.card.dma_write(page, b"in use")
        yield f"a card with memory of its own says that its request is translated already, and reads {secret:#x}"
        verdict = _read(running, secret, translated=True)
        if not verdict.succeeded:
            yield "and then that it is not"
            plain = _read(running, secret, translated=False)
            verdict = plain if plain.succeeded else verdict
    running.give_back(secret)
    return verdict


def _read(running: Running, secret: Hpa, *, translated: bool, source: Bdf = EVIL) -> Verdict:
    running.faults()
    answer = running.pc.root_complex.dma_read(source, Iova(secret), len(CANARY), translated=translated)
    if answer == CANARY:
        return Verdict(f"{source} read {len(CANARY)} bytes of the VMM at host address {secret:#x}")
    recorded = running.faults()
    return record.of_fault(recorded[0]) if recorded else Verdict(str(answer), Mechanism.ATS_BLOCK)


def _reused_domain_id(target: Target) -> Attempt:
    """What the unit remembers of an address space, it remembers by the domain's id (XSA-399)."""
    running = target.running
    remapping = running.vmm.remapping
    with lending(running) as lent:
        page = lent.lend()
        lent.card.dma_write(page, b"in use")
        running.memory.write(page, CANARY)
        yield f"one card's domain has used page {page:#x}; another card gets a new and empty domain"
        reader = running.computer.neighbour
        domain = remapping.create_domain()
        remapping.attach(NEIGHBOUR, domain)
        if target.lacks(Mechanism.INVALIDATION):
            _rename_domain(running, lent.domain)
        running.faults()
        answer = reader.dma_read(page, len(CANARY))
        recorded = running.faults()
        remapping.detach(NEIGHBOUR)
        remapping.destroy_domain(domain)
    if answer == CANARY:
        return Verdict(f"{NEIGHBOUR} read page {page:#x}, which stands in no table of its domain")
    return Verdict(str(recorded[0] if recorded else answer), Mechanism.INVALIDATION)


def _rename_domain(running: Running, domain: int) -> None:
    """Give the other card's domain the id of the first one, of which nothing was forgotten."""
    at = context_entry(running.memory, NEIGHBOUR)
    entry = int.from_bytes(running.memory.read(at, 16), "little")
    renamed = entry & ~ContextEntry.DID.mask | ContextEntry.pack(DID=domain)
    running.memory.write(at, renamed.to_bytes(16, "little"))


def _grant_ats(running: Running) -> None:
    """TT = 01b in the card's context entry, which it has not used yet, and ports that let translated requests pass."""
    at = context_entry(running.memory, EVIL)
    entry = int.from_bytes(running.memory.read(at, 16), "little")
    granted = entry | ContextEntry.pack(TT=TranslationType.WITH_DEVICE_TLB)
    running.memory.write(at, granted.to_bytes(16, "little"))
    for port in running.pc.root_complex.fabric.path(EVIL):
        capability = running.pc.function(port.bdf).config.capability(ACS_CAPABILITY)
        if capability is not None:
            control = running.pc.root_complex.config_read(port.bdf, capability + ACS_CONTROL, 2)
            lenient = control & ~Acs.TRANSLATION_BLOCKING
            running.pc.root_complex.config_write(port.bdf, capability + ACS_CONTROL, 2, lenient)


def _left_over_registers(target: Target) -> Attempt:
    """The new owner's page holds a packet from the wire; read as a descriptor it names the new owner's secret."""
    running = target.running
    with lending(running) as lent:
        packet, secret = lent.lend(), lent.lend()
        card = lent.card
        yield f"the last owner leaves a transmit ring at {packet:#x}, an address it knows the next owner will use"
        for register, value in (
            (RingRegister.BASE_LO, packet),
            (RingRegister.BASE_HI, packet >> 32),
            (RingRegister.ENTRIES, 8),
            (RingRegister.TAIL, 1),
        ):
            card.mmio_write(NetworkRegister.TX_RING + register, 4, value & 0xFFFF_FFFF)
        if not target.lacks(Mechanism.FUNCTION_RESET):
            running.pc.root_complex.config_write(EVIL, DEVICE_CONTROL, 2, INITIATE_FLR)
            running.pc.root_complex.enable_decoding(EVIL)
        running.pc.root_complex.set_bus_master(EVIL, True)
        running.memory.write(packet, Descriptor(secret, len(CANARY), 0).pack())
        running.memory.write(secret, CANARY)
        yield "the next owner has a packet there, and turns the transmitter on"
        card.mmio_write(NetworkRegister.CTRL, 4, Control.pack(TXEN=1))
        sent = card.take_transmitted()
        if CANARY in sent:
            return Verdict(f"{EVIL} sent {len(CANARY)} bytes of the next owner's memory out on the wire")
        entries = card.mmio_read(NetworkRegister.TX_RING + RingRegister.ENTRIES, 4)
        return Verdict(
            f"after FLR the transmit ring has {entries} entries, and {len(sent)} frames were sent", _reset(entries)
        )


def _reset(entries: int) -> Mechanism:
    return Mechanism.FUNCTION_RESET if entries == 0 else Mechanism.VT_D


def _written(lent: Lending, page: Hpa, mechanism: Mechanism) -> Verdict:
    """A fault by the unit is the work of the step that was taken; what else stopped it speaks for itself."""
    running = lent.running
    running.faults()
    fault = lent.card.dma_write(page, PAYLOAD)
    if running.memory.read(page, len(PAYLOAD)) == PAYLOAD:
        return Verdict(f"{EVIL} wrote into page {page:#x} of its next owner")
    recorded = running.faults()
    if recorded:
        return Verdict(str(recorded[0]), mechanism)
    if fault is not None:
        return record.of_completion(fault)
    return Verdict("the write went elsewhere", Mechanism.VT_D)


SCENARIOS: Final = (
    Scenario(
        "stale-iotlb",
        "A card uses memory that was taken from it, through a translation that the unit still remembers.",
        "S6, E10, E11",
        (layer(Mechanism.VT_D, Mechanism.INVALIDATION),),
        _stale_translation,
    ),
    Scenario(
        "in-flight-at-release",
        "A card's write arrives after the card was released and its memory given away.",
        "S6, E8",
        (layer(Mechanism.VT_D, Mechanism.QUARANTINE),),
        _in_flight,
    ),
    Scenario(
        "translated-request",
        "A card that nobody granted address translation says that its requests are translated.",
        "S6, E2",
        (layer(Mechanism.ATS_BLOCK, Mechanism.VT_D),),
        _translated,
    ),
    Scenario(
        "virtual-function",
        "A virtual function of a shared card reaches the memory of the owner of another one.",
        "S8, E7",
        (layer(Mechanism.VT_D),),
        _virtual_function,
    ),
    Scenario(
        "reused-domain-id",
        "A card uses what the unit remembers of another card's domain, whose id its own was given.",
        "S6, E14",
        (layer(Mechanism.VT_D, Mechanism.INVALIDATION),),
        _reused_domain_id,
    ),
    Scenario(
        "left-over-registers",
        "A card works for its next owner by the registers of the last one.",
        "S4, E9",
        (layer(Mechanism.FUNCTION_RESET),),
        _left_over_registers,
    ),
)
