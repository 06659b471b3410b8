from __future__ import annotations

from tests.hw.txt.conftest import Rig
from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.txt import Activity, bios_acm, heap
from vafw.hw.txt.bits import ALIAS_REGISTERS, E2sts, Reg
from vafw.hw.txt.outcome import LaunchStep


def test_every_processor_but_one_stands_still_with_interrupts_masked(rig: Rig) -> None:
    activities = [each.activity for each in rig.platform.processors]
    assert activities == [Activity.RUNNING] + [Activity.WAIT_FOR_SIPI] * 3
    assert all(each.interrupts_masked for each in rig.platform.processors)


def test_aliasing_registers_are_reset_whatever_software_left_in_them(rig: Rig) -> None:
    for register in (register for window in ALIAS_REGISTERS for register in window):
        rig.platform.chipset.hw_set(register, 0x1001)
    steps = bios_acm.run(rig.platform)
    assert rig.platform.chipset.aliases == ()
    assert LaunchStep("reset aliasing registers", "2 of 2 windows were on") in steps


def test_heap_and_sinit_lie_in_a_locked_dpr_below_three_gib() -> None:
    small, large = bios_acm.layout_for(PhysicalMemory(64 << 20)), bios_acm.layout_for(PhysicalMemory(8 << 30))
    assert (small.top, large.top) == (64 << 20, 0xC000_0000)
    assert large.dpr.encode() == 0xC000_0041
    assert large.heap_base == large.dpr.base < large.sinit_base < large.top


def test_the_heap_begins_with_bios_data(rig: Rig) -> None:
    chipset = rig.platform.chipset
    tables = heap.read(rig.platform.memory, Hpa(chipset.get(Reg.HEAP_BASE)), chipset.get(Reg.HEAP_SIZE))
    assert heap.BiosData.decode(tables.bios) == heap.BiosData(sinit_size=0, logical_processors=4)


def test_memory_that_an_aborted_launch_left_secrets_in_is_scrubbed(rig: Rig) -> None:
    rig.platform.memory.write(Hpa(0x50_0000), b"a secret")
    rig.platform.chipset.hw_set(Reg.E2STS, E2sts.SECRETS)
    rig.platform.txt_reset(0xC0000001)
    steps = bios_acm.run(rig.platform)
    assert rig.platform.memory.read(Hpa(0x50_0000), 8) == bytes(8)
    assert rig.platform.chipset.get(Reg.E2STS) == 0
    assert "scrub memory" in [step.name for step in steps]


def test_memory_without_secrets_is_left_alone(rig: Rig) -> None:
    rig.platform.memory.write(Hpa(0x50_0000), b"no secret")
    bios_acm.run(rig.platform)
    assert rig.platform.memory.read(Hpa(0x50_0000), 9) == b"no secret"
