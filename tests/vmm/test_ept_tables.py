"""The VMM's EPT tables, read back by the walk that the processor does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vafw.address import PAGE_SIZE, PAGE_SIZE_2M, Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.ept import AccessKind, EptCapability, Translation, Violation, walk
from vafw.vmm.ept_tables import RW, EptTables
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.refusal import VmmError

START = Hpa(0x10_0000)


def new_tables() -> tuple[PhysicalMemory, FrameAllocator, EptTables]:
    memory = PhysicalMemory(1 << 30)
    frames = FrameAllocator(START, 0x40_0000)
    return memory, frames, EptTables(memory, frames)


def look(
    memory: PhysicalMemory, tables: EptTables, gpa: int, kind: AccessKind = AccessKind.READ
) -> Translation | Violation | object:
    return walk(memory, tables.eptp, Gpa(gpa), kind, EptCapability())


@settings(max_examples=30, deadline=None)
@given(
    gpa=st.integers(0, 2**20).map(lambda page: page * PAGE_SIZE),
    hpa=st.integers(0, 2**20).map(lambda page: page * PAGE_SIZE),
    pages=st.integers(1, 1600),
    probe=st.floats(0, 0.999),
)
def test_every_byte_mapped_translates_to_its_place_and_its_neighbours_do_not(
    gpa: int, hpa: int, pages: int, probe: float
) -> None:
    memory, _, tables = new_tables()
    size = pages * PAGE_SIZE
    tables.map(Gpa(gpa), Hpa(hpa), size)
    offset = int(size * probe)
    found = look(memory, tables, gpa + offset)
    assert isinstance(found, Translation)
    assert found.hpa == hpa + offset
    assert isinstance(look(memory, tables, gpa + size), Violation)
    tables.unmap(Gpa(gpa), size)
    assert isinstance(look(memory, tables, gpa + offset), Violation)


def test_large_pages_are_used_where_both_addresses_are_aligned() -> None:
    memory, _, tables = new_tables()
    tables.map(Gpa(0), Hpa(PAGE_SIZE_2M), 2 * PAGE_SIZE_2M + PAGE_SIZE)
    sizes = [look(memory, tables, gpa) for gpa in (0, PAGE_SIZE_2M, 2 * PAGE_SIZE_2M)]
    assert [each.page_bytes for each in sizes if isinstance(each, Translation)] == [1 << 21, 1 << 21, 1 << 12]


def test_rights_are_those_asked_for() -> None:
    memory, _, tables = new_tables()
    tables.map(Gpa(0), Hpa(0), PAGE_SIZE, RW)
    assert look(memory, tables, 0, AccessKind.FETCH) == Violation(Gpa(0), 0x184 | 3 << 3)


@pytest.mark.parametrize("second", [0, PAGE_SIZE_2M - PAGE_SIZE])
def test_mapping_over_a_mapping_is_refused(second: int) -> None:
    _, _, tables = new_tables()
    tables.map(Gpa(0), Hpa(0), PAGE_SIZE_2M)
    with pytest.raises(VmmError, match=rf"^GPA {second:#x} must not be mapped twice$"):
        tables.map(Gpa(second), Hpa(0x20_0000), PAGE_SIZE)


def test_unmapping_part_of_a_large_page_is_refused() -> None:
    _, _, tables = new_tables()
    tables.map(Gpa(0), Hpa(0), PAGE_SIZE_2M)
    with pytest.raises(VmmError, match=r"^the 0x200000 byte page at GPA 0x0 must be unmapped as a whole$"):
        tables.unmap(Gpa(0x1000), PAGE_SIZE)


def test_a_mapping_that_is_not_whole_pages_is_refused() -> None:
    _, _, tables = new_tables()
    with pytest.raises(VmmError, match=r"^an EPT mapping must be whole 4 KiB pages, not 0x1 to 0x0\+0x1000$"):
        tables.map(Gpa(1), Hpa(0), PAGE_SIZE)


def test_released_tables_give_every_frame_back_and_leave_nothing_in_them() -> None:
    memory, frames, tables = new_tables()
    tables.map(Gpa(0x1234_5000), Hpa(0), 64 * PAGE_SIZE)
    tables.release()
    assert frames.free_bytes == frames.size
    assert memory.resident_bytes == 0
