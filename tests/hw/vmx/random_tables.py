"""Random EPT tables: a few frames of entries that mostly lead on, so that walks get deep and end in every way."""

from __future__ import annotations

import random

from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory

FRAMES = 6
SIZE = 1 << 27
_INDICES = (0, 1, 2, 3, 511)
_MOSTLY = ((7, 70), (3, 8), (1, 8), (5, 8), (4, 2), (2, 1), (6, 1), (0, 2))


def random_tables(seed: int, flags: int = 0) -> tuple[PhysicalMemory, int, random.Random]:
    """Memory with tables in its first frames, the root's address, and the source of chance that is left."""
    chance = random.Random(seed)
    memory = PhysicalMemory(SIZE)
    for frame in range(1, FRAMES + 1):
        for index in _INDICES:
            memory.write_u64(Hpa(frame * 4096 + index * 8), _entry(chance, flags))
    return memory, 4096, chance


def random_address(chance: random.Random) -> int:
    """One whose indices are among those that tables have entries for."""
    top, upper, lower, last = (chance.choice(_INDICES) for _ in range(4))
    return top << 39 | upper << 30 | lower << 21 | last << 12 | chance.randrange(4096)


def _entry(chance: random.Random, flags: int) -> int:
    rights = chance.choices([each for each, _ in _MOSTLY], [weight for _, weight in _MOSTLY])[0]
    entry = rights | chance.randrange(1, FRAMES + 3) << 12 | flags
    if chance.random() < 0.4:
        entry |= chance.choice((6, 6, 6, 0, 1, 4, 5, 2, 3, 7)) << 3
    if chance.random() < 0.15:
        entry = entry & ~0x3FFF_F000 | 0x80 | chance.randrange(8) << 21 | chance.randrange(2) << 30
    if chance.random() < 0.05:
        entry |= 1 << chance.randrange(64)
    return entry
