"""Attacks through what firmware keeps for itself: a region of memory that a device must go on reaching (RMRR; E6).

A region stays mapped whatever the VMM thinks of it, so whoever has the device has the region. The remedy is not in the
hardware: such a device is assigned to nobody, and the plan is refused before anything is launched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vafw.address import PAGE_SIZE
from vafw.attack.hand_over import lending
from vafw.attack.mechanism import Mechanism
from vafw.attack.running import CANARY
from vafw.attack.scenario import Attempt, NotApplicable, Scenario, Verdict, layer
from vafw.attack.target import Target
from vafw.document.load import DocumentSet
from vafw.plan.checks.assignment import functions_can_change_hands


def _reserved_memory(target: Target) -> Attempt:
    running = target.running
    documents = target.supplies.documents
    if documents is None:
        raise NotApplicable("the topology's documents must be at hand to be refused")
    name = target.supplies.plan.wire.name
    yield f"firmware holds a memory region for {name} (RMRR), which is to be assigned all the same"
    refused = next(functions_can_change_hands(_with_region(documents, name)), None)
    if refused is not None and not target.lacks(Mechanism.RESERVED_MEMORY):
        return Verdict(f"{refused.code}: {refused.message}", Mechanism.RESERVED_MEMORY)
    page = running.page_of_vmm()
    with lending(running) as lent:
        running.vmm.remapping.map_reserved(lent.domain, page, PAGE_SIZE)
        yield f"its owner has it read the region, at {page:#x}"
        answer = lent.card.dma_read(page, len(CANARY))
    running.give_back(page)
    if answer == CANARY:
        return Verdict(f"{len(CANARY)} bytes of the firmware's were read at {page:#x}")
    return Verdict(str(answer), Mechanism.VT_D)


def _with_region(documents: DocumentSet, name: str) -> DocumentSet:
    """The same documents of a machine whose firmware holds a region for one device."""
    machine = documents.machine.model
    device = machine.devices[name].model_copy(update={"reserved_memory": True})
    altered = machine.model_copy(update={"devices": {**machine.devices, name: device}})
    return replace(documents, machine=replace(documents.machine, model=altered))


SCENARIOS: Final = (
    Scenario(
        "reserved-memory",
        "The owner of a device reaches the memory that firmware holds for it.",
        "S4, E6",
        (layer(Mechanism.RESERVED_MEMORY),),
        _reserved_memory,
    ),
)
