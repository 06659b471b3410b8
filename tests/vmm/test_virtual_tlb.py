"""The virtual TLB: what is filled, what is the guest's own fault, and that it goes stale exactly as a TLB may."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vafw.address import PAGE_SIZE, Gpa, Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.ept import EptCapability
from vafw.vmm.ept_tables import EptTables
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.guest_memory import GuestMemory
from vafw.vmm.virtual_tlb import GuestPageFault, VirtualTlb

GUEST, SIZE = Hpa(0x400_0000), 0x20_0000
CR3, LEVEL3, LEVEL2, LEVEL1 = 0x1000, 0x2000, 0x3000, 0x4000
LINEAR = 0x7F_8000_0000
READ, WRITE, USER = 0, 2, 4


class Bench:
    """A guest whose tables map the 512 pages from LINEAR as their level-1 table says."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(1 << 28)
        self.frames = FrameAllocator(Hpa(0x10_0000), 16 << 20)
        tables = EptTables(self.memory, self.frames)
        tables.map(Gpa(0), GUEST, SIZE)
        self.free_before = self.frames.free_bytes
        self.tlb = VirtualTlb(self.memory, self.frames, GuestMemory(self.memory, tables.eptp, EptCapability()))
        self.poke(CR3 + (LINEAR >> 39) * 8, LEVEL3 | 7)
        self.poke(LEVEL3 + (LINEAR >> 30 & 511) * 8, LEVEL2 | 7)
        self.poke(LEVEL2 + (LINEAR >> 21 & 511) * 8, LEVEL1 | 7)

    def poke(self, gpa: int, value: int) -> None:
        self.memory.write_u64(Hpa(GUEST + gpa), value)

    def map(self, page: int, entry: int) -> None:
        self.poke(LEVEL1 + page * 8, entry)

    def entry(self, page: int) -> int:
        return self.memory.read_u64(Hpa(GUEST + LEVEL1 + page * 8))

    def fill(self, page: int, access: int = READ) -> GuestPageFault | None:
        return self.tlb.fill(CR3, LINEAR + page * PAGE_SIZE, access)

    def served(self, page: int, access: int = READ) -> int | None:
        """The frame that the processor's own walk of the active tables finds, None where it would fault."""
        table, linear = int(self.tlb.root), LINEAR + page * PAGE_SIZE
        rights = 7
        for shift in (39, 30, 21, 12):
            entry = self.memory.read_u64(Hpa(table + (linear >> shift & 511) * 8))
            rights &= entry
            table = entry & 0xF_FFFF_FFFF_F000
        needs = 1 | (2 if access & WRITE else 0) | (4 if access & USER else 0)
        return table - GUEST if rights & needs == needs else None


def test_a_page_is_filled_as_the_guests_tables_say_and_marked_accessed() -> None:
    bench = Bench()
    bench.map(3, 0x9000 | 7)
    assert bench.fill(3) is None
    assert (bench.served(3), bench.entry(3)) == (0x9000, 0x9000 | 7 | 0x20)


def test_a_writable_page_takes_no_write_before_its_dirty_flag_is_set() -> None:
    bench = Bench()
    bench.map(3, 0x9000 | 7)
    bench.fill(3)
    assert bench.served(3, WRITE) is None
    assert bench.fill(3, WRITE) is None
    assert (bench.served(3, WRITE), bench.entry(3) & 0x60) == (0x9000, 0x60)


@pytest.mark.parametrize(
    ("entry", "access", "code"),
    [(0, READ, 0), (0, WRITE | USER, 6), (5, WRITE, 3), (3, USER, 5), (7 | 1 << 63, 16, 17)],
)
def test_what_the_guests_tables_refuse_is_the_guests_own_fault(entry: int, access: int, code: int) -> None:
    bench = Bench()
    bench.map(3, entry and entry | 0x9000)
    assert bench.fill(3, access) == GuestPageFault(code)
    assert bench.served(3) is None


def test_a_guests_entry_that_names_no_memory_of_its_is_a_fault_and_maps_nothing() -> None:
    bench = Bench()
    bench.poke(LEVEL2 + (LINEAR >> 21 & 511) * 8, 0x8000_0000 | 7)
    assert bench.fill(3) == GuestPageFault(9)
    assert bench.served(3) is None


def test_a_frame_that_is_not_the_guests_own_is_never_mapped() -> None:
    bench = Bench()
    bench.map(3, 0x8000_0000 | 7)
    assert bench.fill(3) == GuestPageFault(9)
    assert bench.served(3) is None


def test_a_large_page_of_the_guest_is_filled_by_pieces_of_four_kib() -> None:
    bench = Bench()
    bench.poke(LEVEL2 + (LINEAR >> 21 & 511) * 8, 0 | 0x87)
    assert bench.fill(5) is None
    assert (bench.served(5), bench.served(6)) == (5 * PAGE_SIZE, None)


def test_emptying_spares_global_pages_alone_and_release_gives_every_frame_back() -> None:
    bench = Bench()
    bench.map(1, 0x9000 | 7)
    bench.map(2, 0xA000 | 7 | 1 << 8)
    for page in (1, 2):
        bench.fill(page)
    bench.tlb.empty()
    assert (bench.served(1), bench.served(2)) == (None, 0xA000)
    bench.tlb.release()
    assert bench.frames.free_bytes == bench.free_before


PAGES = st.integers(0, 5)
ACCESSES = st.sampled_from([READ, WRITE, USER, WRITE | USER])
ENTRIES = st.one_of(
    st.just(0), st.builds(lambda frame, rights: frame << 12 | rights, st.integers(8, 20), st.sampled_from([1, 3, 5, 7]))
)
STEPS = st.one_of(
    st.tuples(st.just("access"), PAGES, ACCESSES),
    st.tuples(st.just("change"), PAGES, ENTRIES),
    st.tuples(st.just("invlpg"), PAGES),
    st.tuples(st.just("cr3")),
)


def allows(entry: int, access: int) -> bool:
    needs = 1 | (2 if access & WRITE else 0) | (4 if access & USER else 0)
    return entry & needs == needs


@settings(deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_it_serves_what_the_guests_tables_said_at_some_moment_since_the_last_invalidation(
    steps: list[tuple[object, ...]],
) -> None:
    bench = Bench()
    said: dict[int, list[int]] = {page: [0] for page in range(6)}
    for step in steps:
        match step:
            case ("change", int(page), int(entry)):
                bench.map(page, entry)
                said[page].append(entry)
            case ("invlpg", int(page)):
                bench.tlb.forget(LINEAR + page * PAGE_SIZE)
                said[page] = said[page][-1:]
            case ("cr3",):
                bench.tlb.empty()
                said = {page: entries[-1:] for page, entries in said.items()}
            case ("access", int(page), int(access)):
                refused = None if bench.served(page, access) is not None else bench.fill(page, access)
                frame = bench.served(page, access)
                assert (refused is None) == (frame is not None)
                witnesses = [each for each in said[page] if allows(each, access)]
                assert frame is None or frame in [each & 0xFFFFF000 for each in witnesses]
                assert refused is None or not allows(said[page][-1], access)
