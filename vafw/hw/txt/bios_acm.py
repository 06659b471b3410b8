"""The BIOS authenticated code module: what happens at power-on before anything is measured.

It stops every processor but one, masks interrupts, and resets the chipset's aliasing registers, through
which one DRAM cell could be reached under two addresses; only then are ranges of addresses worth checking.
It scrubs memory that an aborted launch left secrets in, sets up the DPR with SINIT's and the heap's place
in it, and locks that.

    DPR   ┌ heap ────────────┬ SINIT ───────────┐ top: a multiple of 1 MiB below 3 GiB
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.txt import heap
from vafw.hw.txt.bits import ALIAS_REGISTERS, Dpr, E2sts, Reg, Sts
from vafw.hw.txt.outcome import LaunchStep
from vafw.hw.txt.platform import Activity, TxtPlatform

BIOS_ACM_ID: Final = hashlib.sha1(b"vafw model BIOS ACM 1", usedforsecurity=False).digest()
"""What SINIT reports as the BIOS ACM's identity, 20 bytes."""
HEAP_SIZE: Final = 0x10_0000
SINIT_SIZE: Final = 0x30_0000
_MIB: Final = 1 << 20
_LOW_MEMORY_END: Final = 0xC000_0000


@dataclass(frozen=True, slots=True)
class ProtectedLayout:
    """Where the DPR lies, and what in it."""

    heap_base: Hpa
    sinit_base: Hpa
    top: int

    @property
    def dpr(self) -> Dpr:
        """TXT.DPR for it, locked."""
        return Dpr(self.top, (self.top - self.heap_base) // _MIB, lock=True)


def layout_for(memory: PhysicalMemory) -> ProtectedLayout:
    """The DPR at the top of the memory below 3 GiB; nobody else may use that memory."""
    top = min(memory.size, _LOW_MEMORY_END) // _MIB * _MIB
    sinit = top - SINIT_SIZE
    return ProtectedLayout(Hpa(sinit - HEAP_SIZE), Hpa(sinit), top)


def run(platform: TxtPlatform) -> tuple[LaunchStep, ...]:
    """Power-on: from whatever software left behind to a chipset that a launch can rely on."""
    chipset = platform.chipset
    secrets = bool(chipset.get(Reg.E2STS) & E2sts.SECRETS)
    live = len(chipset.aliases)
    for processor in platform.processors:
        processor.interrupts_masked = True
        processor.activity = Activity.RUNNING if processor is platform.ilp else Activity.WAIT_FOR_SIPI
    steps = [LaunchStep("stop processors", f"{len(platform.rlps)} of {len(platform.processors)}, interrupts masked")]
    chipset.change_status(clear_bits=Sts.MEM_CONFIG_LOCK)
    for register in (register for window in ALIAS_REGISTERS for register in window):
        chipset.hw_set(register, 0)
    steps.append(LaunchStep("reset aliasing registers", f"{live} of {len(ALIAS_REGISTERS)} windows were on"))
    if secrets:
        platform.memory.clear(Hpa(0), platform.memory.size)
        chipset.hw_set(Reg.E2STS, 0)
        steps.append(LaunchStep("scrub memory", "secrets were left by a launch that did not end in SEXIT"))
    steps.append(_set_up_protected_memory(platform))
    return tuple(steps)


def _set_up_protected_memory(platform: TxtPlatform) -> LaunchStep:
    chipset, memory, layout = platform.chipset, platform.memory, layout_for(platform.memory)
    for register, value in (
        (Reg.HEAP_BASE, layout.heap_base),
        (Reg.HEAP_SIZE, HEAP_SIZE),
        (Reg.SINIT_BASE, layout.sinit_base),
        (Reg.SINIT_SIZE, SINIT_SIZE),
        (Reg.DPR, layout.dpr.encode()),
    ):
        chipset.hw_set(register, value)
    memory.clear(layout.heap_base, layout.top - layout.heap_base)
    bios = heap.BiosData(sinit_size=0, logical_processors=len(platform.processors))
    heap.write(memory, layout.heap_base, HEAP_SIZE, heap.Heap(bios.encode()))
    return LaunchStep("lock DPR", f"{layout.heap_base:#x}-{layout.top - 1:#x} with heap and SINIT")
