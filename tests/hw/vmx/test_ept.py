"""The EPT walk: rights at every level, violations told from misconfigurations, accessed and dirty flags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import EptEntry, MemoryType
from vafw.hw.vmx.ept import (
    AccessKind,
    EptCapability,
    Misconfiguration,
    Translation,
    Violation,
    eptp_is_valid,
    walk,
)

RWX = 7
WB = MemoryType.WB << 3
ROOT = 0x1000
EPTP = ROOT | 0x1E
WITH_ACCESSED_DIRTY = EPTP | 0x40
GPA = Gpa(0x12_3456_7ABC)
TABLES = {4: 0x1000, 3: 0x2000, 2: 0x3000, 1: 0x4000}
SHIFT = {4: 39, 3: 30, 2: 21, 1: 12}
FRAME = {1: 0x0765_4000, 2: 0x0760_0000, 3: 0x4000_0000}
CAPABILITY = EptCapability()


def place(level: int) -> Hpa:
    return Hpa(TABLES[level] + (GPA >> SHIFT[level] & 0x1FF) * 8)


def tables(leaf_level: int = 1, **entries: int) -> PhysicalMemory:
    """A well-formed walk of GPA down to a leaf at `leaf_level`, with entries such as l3 replaced."""
    memory = PhysicalMemory(1 << 27)
    for level in range(4, leaf_level, -1):
        memory.write_u64(place(level), TABLES[level - 1] | RWX)
    memory.write_u64(place(leaf_level), FRAME[leaf_level] | RWX | WB | (0x80 if leaf_level > 1 else 0))
    for name, entry in entries.items():
        memory.write_u64(place(int(name[1])), entry)
    return memory


def attempt(
    memory: PhysicalMemory, kind: AccessKind = AccessKind.READ, eptp: int = EPTP
) -> Translation | Violation | Misconfiguration:
    return walk(memory, eptp, GPA, kind, CAPABILITY)


@pytest.mark.parametrize(("leaf", "size"), [(1, 1 << 12), (2, 1 << 21), (3, 1 << 30)])
def test_a_page_of_each_size_translates_with_its_offset(leaf: int, size: int) -> None:
    assert attempt(tables(leaf)) == Translation(Hpa(FRAME[leaf] | GPA & size - 1), size, RWX, MemoryType.WB)


@pytest.mark.parametrize("kind", AccessKind)
@pytest.mark.parametrize("rights", [1, 3, 4, 5, 7])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_leaf_allows_what_its_rights_say_and_else_gives_a_violation(
    level: int, rights: int, kind: AccessKind
) -> None:
    leaf = FRAME[level] | rights | WB | (0x80 if level > 1 else 0)
    outcome = attempt(tables(level, **{f"l{level}": leaf}), kind)
    allowed = bool(rights & kind.value)
    assert isinstance(outcome, Translation) == allowed
    assert isinstance(outcome, Violation) != allowed


@pytest.mark.parametrize("kind", AccessKind)
@pytest.mark.parametrize("rights", [2, 6])
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_write_without_read_is_a_misconfiguration_at_any_level(level: int, rights: int, kind: AccessKind) -> None:
    entry = TABLES.get(level - 1, FRAME[1]) | rights
    assert attempt(tables(**{f"l{level}": entry}), kind) == Misconfiguration(GPA, level, entry)


@pytest.mark.parametrize(("kind", "qualification"), list(zip(AccessKind, (0x181, 0x182, 0x184), strict=True)))
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_an_entry_without_rights_is_absent_whatever_else_is_set_in_it(
    level: int, kind: AccessKind, qualification: int
) -> None:
    entry = 0xFFFF_FFFF_FFFF_FFF8
    assert attempt(tables(**{f"l{level}": entry}), kind) == Violation(GPA, qualification)


def test_the_qualification_carries_the_rights_of_all_levels_anded() -> None:
    memory = tables(l3=TABLES[2] | 5, l1=FRAME[1] | 3 | WB)
    assert attempt(memory, AccessKind.WRITE) == Violation(GPA, 0x182 | 1 << 3)


def test_read_only_at_a_middle_level_stops_a_write_through_a_writable_leaf() -> None:
    assert attempt(tables(l2=TABLES[1] | 1), AccessKind.WRITE) == Violation(GPA, 0x182 | 1 << 3)


@pytest.mark.parametrize("memory_type", [2, 3, 7])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_reserved_memory_type_is_a_misconfiguration(level: int, memory_type: int) -> None:
    entry = FRAME[level] | RWX | memory_type << 3 | (0x80 if level > 1 else 0)
    assert attempt(tables(level, **{f"l{level}": entry})) == Misconfiguration(GPA, level, entry)


@pytest.mark.parametrize(
    ("level", "bit"), [*((4, b) for b in range(3, 8)), *((n, b) for n in (3, 2) for b in range(3, 7))]
)
def test_a_reserved_bit_of_an_entry_that_references_a_table_is_a_misconfiguration(level: int, bit: int) -> None:
    entry = TABLES[level - 1] | RWX | 1 << bit
    assert attempt(tables(**{f"l{level}": entry})) == Misconfiguration(GPA, level, entry)


@pytest.mark.parametrize(("level", "bit"), [*((2, b) for b in range(12, 21)), *((3, b) for b in range(12, 30))])
def test_a_large_page_that_is_not_aligned_is_a_misconfiguration(level: int, bit: int) -> None:
    entry = RWX | WB | 0x80 | 1 << bit
    assert attempt(tables(level, **{f"l{level}": entry})) == Misconfiguration(GPA, level, entry)


@pytest.mark.parametrize("bit", range(39, 52))
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_an_address_beyond_the_physical_width_is_a_misconfiguration(level: int, bit: int) -> None:
    entry = RWX | 1 << bit
    assert attempt(tables(**{f"l{level}": entry})) == Misconfiguration(GPA, level, entry)


@pytest.mark.parametrize("bit", [8, 9, 10, 11, *range(52, 64)])
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_ignored_bits_change_nothing(level: int, bit: int) -> None:
    entry = (TABLES[level - 1] if level > 1 else FRAME[1] | WB) | RWX | 1 << bit
    assert attempt(tables(**{f"l{level}": entry})) == attempt(tables())


def test_execute_only_is_a_misconfiguration_on_a_processor_without_it() -> None:
    entry = FRAME[1] | 4 | WB
    outcome = walk(tables(l1=entry), EPTP, GPA, AccessKind.FETCH, EptCapability(execute_only=False))
    assert outcome == Misconfiguration(GPA, 1, entry)


def test_a_table_where_no_memory_is_reads_as_ones_and_is_a_misconfiguration() -> None:
    outcome = attempt(tables(l3=0x7F_0000_0000 | RWX))
    assert outcome == Misconfiguration(GPA, 2, 0xFFFF_FFFF_FFFF_FFFF)


def test_an_address_beyond_48_bits_is_a_violation() -> None:
    assert walk(tables(), EPTP, Gpa(1 << 48), AccessKind.READ, CAPABILITY) == Violation(Gpa(1 << 48), 0x181)


def test_without_accessed_and_dirty_flags_the_walk_writes_nothing() -> None:
    memory = tables()
    attempt(memory, AccessKind.WRITE)
    assert [memory.read_u64(place(level)) & 0x300 for level in (4, 3, 2, 1)] == [0, 0, 0, 0]


def test_a_read_sets_accessed_in_every_entry_and_a_write_dirty_in_the_leaf_alone() -> None:
    memory = tables()
    attempt(memory, AccessKind.READ, WITH_ACCESSED_DIRTY)
    after_read = [memory.read_u64(place(level)) & 0x300 for level in (4, 3, 2, 1)]
    attempt(memory, AccessKind.WRITE, WITH_ACCESSED_DIRTY)
    after_write = [memory.read_u64(place(level)) & 0x300 for level in (4, 3, 2, 1)]
    assert (after_read, after_write) == ([0x100] * 4, [0x100, 0x100, 0x100, 0x300])


def test_a_refused_access_sets_no_flag() -> None:
    memory = tables(l1=FRAME[1] | 1 | WB)
    attempt(memory, AccessKind.WRITE, WITH_ACCESSED_DIRTY)
    assert memory.read_u64(place(4)) & 0x300 == 0


@pytest.mark.parametrize(
    ("eptp", "valid"),
    [
        (EPTP, True),
        (ROOT | 0x18, True),
        (WITH_ACCESSED_DIRTY, True),
        (ROOT | 0x1C, False),
        (ROOT | 0x16, False),
        (EPTP | 0x80, False),
        (EPTP | 1 << 39, False),
    ],
)
def test_an_ept_pointer_is_judged_by_type_length_reserved_bits_and_width(eptp: int, valid: bool) -> None:
    assert eptp_is_valid(eptp, CAPABILITY) is valid


@given(entries=st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4), kind=st.sampled_from(AccessKind))
def test_whatever_stands_in_the_tables_a_walk_has_one_of_three_outcomes(entries: list[int], kind: AccessKind) -> None:
    memory = tables(**{f"l{level}": entry for level, entry in zip((4, 3, 2, 1), entries, strict=True)})
    outcome = attempt(memory, kind, WITH_ACCESSED_DIRTY)
    assert isinstance(outcome, Translation | Violation | Misconfiguration)


@given(rights=st.lists(st.sampled_from([1, 3, 5, 7]), min_size=4, max_size=4), kind=st.sampled_from(AccessKind))
def test_an_access_needs_its_right_at_every_level(rights: list[int], kind: AccessKind) -> None:
    four, three, two, one = rights
    memory = tables(l4=TABLES[3] | four, l3=TABLES[2] | three, l2=TABLES[1] | two, l1=FRAME[1] | WB | one)
    outcome = attempt(memory, kind)
    assert isinstance(outcome, Translation) == bool(four & three & two & one & kind.value)


def test_outcomes_read_as_a_debugger_would_print_them() -> None:
    assert str(Violation(GPA, 0x182)) == (
        "EPT violation at GPA 0x1234567abc: EptViolation(0x182: WRITE LINEAR_VALID FINAL)"
    )
    assert EptEntry.describe(0x7654037) == "EptEntry(0x7654037: R W X MEMORY_TYPE=0x6 ADDRESS=0x7654)"
