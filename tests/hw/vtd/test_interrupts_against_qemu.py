"""Random interrupt-remapping tables under our unit and under QEMU's: the same messages pass, and become the same.

QEMU 7.2 leaves the specification in three points, which the cases avoid: it records no interrupt faults, lets messages
in compatibility format pass always, and takes the two buses of a bus range in the wrong order.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hw.vtd.qemu import AVAILABLE, EDU, RAM_BYTES, TRACE, UNIT, qemu_pc
from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd import Interrupt, RemappingUnit, UnitCapability

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="qemu-system-x86_64 is not installed")

GCMD, IRTA = 0x18, 0xB8
IRE, SIRTP = 1 << 25, 1 << 24
TABLE, SIZE = 0x11_0000, 8
ENTRIES = 1 << SIZE + 1
CASES = 500
LINE = re.compile(r"vtd_ir_remap_msi \(addr (0x\w+), data (0x\w+)\) -> \(addr (0x\w+), data (0x\w+)\)")


@dataclass(frozen=True, slots=True)
class Case:
    """One message and the entry it names."""

    entry: int
    address: int
    data: int
    index: int


def draw(random: random.Random, number: int) -> Case:
    """An entry that mostly fits its message; `number` makes the message unique."""

    def seldom(chance: float = 0.1) -> bool:
        return random.random() < chance

    low = int(not seldom()) | random.choice([0, 4, 8, 0xC]) | random.choice([0, 0, 0x10]) | random.randrange(8) << 5
    low |= random.randrange(256) << 16 | random.randrange(256) << 40
    validation = random.choice([0, 1, 1, 1])
    source = EDU.requester_id ^ (1 << random.randrange(16) if seldom(0.3) else 0)
    high = source | random.randrange(4) << 16 | validation << 18
    stray = 1 << random.choice([12, 13, 14, 24, 31, 84, 100, 127]) if seldom() else 0
    index = ENTRIES + number % 64 if seldom(0.05) else number
    sub = random.randrange(min(8, index + 1)) if seldom(0.3) else None
    handle = index if sub is None else index - sub
    address = 0xFEE0_0000 | (handle & 0x7FFF) << 5 | 1 << 4 | (sub is not None) << 3
    return Case((high << 64 | low) ^ stray, address, sub or 0, index)


def expected(case: Case) -> tuple[int, int] | None:
    """What our unit makes of the message; a fresh one, so that no entry is cached."""
    memory = PhysicalMemory(RAM_BYTES)
    unit = RemappingUnit(memory, UnitCapability(host_address_bits=48))
    if case.index < ENTRIES:
        memory.write(Hpa(TABLE + case.index * 16), case.entry.to_bytes(16, "little"))
    unit.mmio_write(IRTA, 8, TABLE | SIZE)
    unit.mmio_write(GCMD, 4, SIRTP)
    unit.mmio_write(GCMD, 4, IRE)
    answer = unit.remap(EDU, case.address, case.data)
    return answer.message() if isinstance(answer, Interrupt) else None


@pytest.mark.parametrize("seed", range(2))
def test_random_entries_let_the_same_messages_through(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    cases = [draw(rng, number) for number in range(CASES)]
    with qemu_pc(tmp_path) as pc:
        pc.write(UNIT + IRTA, TABLE | SIZE)
        pc.write(UNIT + GCMD, SIRTP, 4)
        pc.write(UNIT + GCMD, IRE, 4)
        for case in cases:
            for half in (0, 1):
                pc.write(TABLE + case.index * 16 + half * 8, case.entry >> 64 * half & (1 << 64) - 1)
            pc.program_message(case.address, case.data)
            pc.interrupt()
    lines = [[int(word, 16) for word in found] for found in LINE.findall((tmp_path / TRACE).read_text())]
    theirs = {(address, data): (to_address, to_data) for address, data, to_address, to_data in lines}
    ours = {(case.address, case.data): expected(case) for case in cases}
    assert {message: theirs.get(message) for message in ours} == ours
    assert 100 < sum(answer is not None for answer in ours.values()) < CASES - 100
