"""The walkers held against an independent one over random tables: careful, quick, cached and batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.vmx.naive import PHYSICAL_BITS, Verdict, naive_walk
from tests.hw.vmx.random_tables import random_address, random_tables
from vafw.address import Gpa, Hpa
from vafw.hw.memory.batch import REFUSED
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import EptEntry, MemoryType
from vafw.hw.vmx.ept import AccessKind, EptCapability, Misconfiguration, Translation, Violation, walk
from vafw.hw.vmx.ept_batch import flatten
from vafw.hw.vmx.quick_walk import Demand, StructureCache, leaf_address, leaf_shift, pack_leaf, quick_walk

CAPABILITY = EptCapability(physical_bits=PHYSICAL_BITS)
LETTER = {AccessKind.READ: "r", AccessKind.WRITE: "w", AccessKind.FETCH: "x"}
WB, ACCESSED, DIRTY = 0x30, EptEntry.A.mask, EptEntry.D.mask
SEEDS = st.integers(0, 2**32)
KINDS = st.sampled_from(AccessKind)


def told(outcome: Translation | Violation | Misconfiguration) -> Verdict:
    """The careful walker's outcome in the naive one's words."""
    if isinstance(outcome, Translation):
        rights = "".join(letter for bit, letter in ((1, "r"), (2, "w"), (4, "x")) if outcome.rights & bit)
        return Verdict("translation", outcome.hpa, outcome.page_bytes, rights)
    if isinstance(outcome, Violation):
        return Verdict("violation", qualification=outcome.qualification)
    return Verdict("misconfiguration", level=outcome.level)


@settings(deadline=None)
@given(seed=SEEDS, kind=KINDS)
def test_the_careful_walk_agrees_with_the_naive_one(seed: int, kind: AccessKind) -> None:
    memory, root, chance = random_tables(seed)
    for _ in range(20):
        gpa = random_address(chance)
        ours = walk(memory, root | 0x1E, Gpa(gpa), kind, CAPABILITY)
        assert told(ours) == naive_walk(memory, root, gpa, LETTER[kind])


@settings(deadline=None)
@given(seed=SEEDS, kind=KINDS, accessed_dirty=st.booleans())
def test_the_quick_walk_answers_only_as_the_careful_one_would_and_without_writing(
    seed: int, kind: AccessKind, accessed_dirty: bool
) -> None:
    memory, root, chance = random_tables(seed, WB if seed % 2 else 0)
    demand = Demand(kind, accessed_dirty=accessed_dirty, physical_bits=PHYSICAL_BITS)
    eptp = root | 0x1E | (0x40 if accessed_dirty else 0)
    for _ in range(20):
        gpa = random_address(chance)
        before = memory.read(Hpa(0), 0x8000)
        careful = walk(memory, eptp, Gpa(gpa), kind, CAPABILITY)
        marked = memory.read(Hpa(0), 0x8000) != before
        memory.write(Hpa(0), before)
        quick = quick_walk(memory.tables, root, gpa, demand)
        if quick >= 0:
            assert isinstance(careful, Translation)
            assert (quick, leaf_address(quick, gpa), marked) == (pack_leaf(careful), careful.hpa, False)


def plain() -> PhysicalMemory:
    """4 GiB and more, all of it plainly mapped: 4 KiB pages, then 2 MiB pages."""
    memory = PhysicalMemory(1 << 30)
    for place, entry in ((0x1000, 0x2107), (0x2000, 0x3107), (0x3000, 0x4107), (0x3008, 0x4000_0000 | 0x3B7)):
        memory.write_u64(Hpa(place), entry)
    for index in range(512):
        memory.write_u64(Hpa(0x4000 + index * 8), 0x10_0000 + (index << 12) | 0x337)
    for table in (0x1000, 0x2000, 0x3000, 0x4000):
        memory.read_ram_u64(table)
    return memory


def test_the_quick_walk_is_quick_for_plain_tables() -> None:
    memory = plain()
    demand = Demand(AccessKind.WRITE, accessed_dirty=True, physical_bits=39)
    for gpa in (0, 0x5123, 0x1F_FFFF, 0x20_0000, 0x3F_FFFF):
        careful = walk(memory, 0x105E, Gpa(gpa), AccessKind.WRITE, CAPABILITY)
        assert isinstance(careful, Translation)
        assert quick_walk(memory.tables, 0x1000, gpa, demand) == pack_leaf(careful)


@settings(deadline=None)
@given(seed=SEEDS, kind=KINDS)
def test_a_fresh_structure_cache_answers_as_the_quick_walk_does(seed: int, kind: AccessKind) -> None:
    memory, root, chance = random_tables(seed, WB)
    cache = StructureCache(memory, root | 0x1E, CAPABILITY)
    demand = Demand(kind, accessed_dirty=False, physical_bits=PHYSICAL_BITS)
    for _ in range(20):
        gpa = random_address(chance)
        memory.read_ram_u64(root)
        assert cache.translate(gpa, kind.value) == quick_walk(memory.tables, root, gpa, demand)
        assert cache.translate(gpa, kind.value) == quick_walk(memory.tables, root, gpa, demand)


def test_a_directory_entry_is_remembered_until_it_is_dropped_and_the_leaf_is_not() -> None:
    memory = plain()
    cache = StructureCache(memory, 0x105E, CAPABILITY)
    assert leaf_address(cache.translate(0x1000, 1), 0x1000) == 0x10_1000
    memory.write_u64(Hpa(0x3000), 0)
    memory.write_u64(Hpa(0x4008), 0x20_0337)
    assert leaf_address(cache.translate(0x1000, 1), 0x1000) == 0x20_0000
    cache.drop(0x1000)
    assert cache.translate(0x1000, 1) == -1


@settings(deadline=None)
@given(seed=SEEDS, kind=KINDS)
def test_the_batch_agrees_with_the_naive_walk(seed: int, kind: AccessKind) -> None:
    memory, root, chance = random_tables(seed)
    addresses = [random_address(chance) for _ in range(30)]
    ours = flatten(memory, root | 0x1E, CAPABILITY).translate(np.array(addresses, np.uint64), kind.value)
    naive = [naive_walk(memory, root, each, LETTER[kind]) for each in addresses]
    assert ours.tolist() == [each.hpa if each.kind == "translation" else REFUSED for each in naive]


def test_the_batch_refuses_addresses_beyond_48_bits_and_tables_beyond_memory() -> None:
    memory = plain()
    memory.write_u64(Hpa(0x3010), 0x7F_0000_0007)
    addresses = np.array([0x1000, 1 << 48, 0x40_0000, 1 << 63], np.uint64)
    found = flatten(memory, 0x101E, CAPABILITY).translate(addresses, 1)
    assert found.tolist() == [0x10_1000, REFUSED, REFUSED, REFUSED]


def test_a_packed_leaf_keeps_frame_size_and_rights() -> None:
    leaf = pack_leaf(Translation(Hpa(0x4012_3456), 1 << 21, 5, MemoryType.WB))
    assert (leaf_shift(leaf), leaf & 7, leaf_address(leaf, 0x20_0FFF)) == (21, 5, 0x4000_0FFF)
