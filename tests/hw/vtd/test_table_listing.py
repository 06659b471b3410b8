"""Listings of whole tables, against the walker that answers one address at a time."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.vtd.bench import CONTEXT, IRT, NIC, OTHER, PAGE, ROOT, TABLES, Bench
from vafw.address import Bdf, Iova
from vafw.hw.vtd import Interrupt, Translation, UnitCapability
from vafw.hw.vtd.interrupt_listing import IrteListing, Posting, interrupt_table, list_interrupts
from vafw.hw.vtd.page_dump import BadDump, DumpedPages, NotDumped, PageDump
from vafw.hw.vtd.recorded_walk import record_walk
from vafw.hw.vtd.table_listing import FunctionListing, Problem, Range, list_tables
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked


def listing(bench: Bench) -> FunctionListing:
    (found,) = list_tables(bench.memory, ROOT, bench.unit.capability.rules)
    assert isinstance(found, FunctionListing)
    return found


LEAF = st.tuples(st.integers(0, 15), st.sampled_from([0, 1, 2, 3, 3, 3]), st.sampled_from([0, 0, 0, 1 << 46, 1 << 52]))


@settings(max_examples=60, deadline=None)
@given(
    leaves=st.dictionaries(st.integers(0, 12), LEAF, max_size=10),
    large=st.dictionaries(st.integers(1, 3), st.tuples(st.integers(0, 5), st.sampled_from([1, 2, 3])), max_size=3),
    middle=st.sampled_from([1, 2, 3, 3]),
)
def test_a_listing_says_of_every_address_what_the_walk_says(
    leaves: dict[int, tuple[int, int, int]], large: dict[int, tuple[int, int]], middle: int
) -> None:
    bench = Bench()
    bench.attach()
    for page, (frame, rights, odd) in leaves.items():
        bench.path(page << 12, PAGE + (frame << 12) | rights | odd, middle=middle)
    for region, (frame, rights) in large.items():
        bench.path(region << 21, frame << 21 | rights | 0x80, at=2, middle=middle)
    bench.start()
    ranges = listing(bench).ranges
    for iova in (*range(0, 14 << 12, 4096), *range(1 << 21, 5 << 21, 1 << 20)):
        inside = [each for each in ranges if each.iova <= iova <= each.end]
        assert len(inside) <= 1
        for write, right in ((False, READ), (True, WRITE)):
            answer = bench.unit.translate(NIC, Iova(iova), write=write)
            allowed = [each.host + iova - each.iova for each in inside if each.rights & right]
            assert allowed == ([answer.hpa] if isinstance(answer, Translation) else [])


def test_neighbouring_pages_are_one_range_and_what_differs_is_another(bench: Bench) -> None:
    bench.attach()
    for page in (0, 1, 2, 5):
        bench.path(page << 12, PAGE + (page << 12) | 3)
    bench.path(3 << 12, PAGE + (3 << 12) | 1)
    assert listing(bench).ranges == (
        Range(0x0, PAGE, 0x3000, 3, 4096),
        Range(0x3000, PAGE + 0x3000, 0x1000, 1, 4096),
        Range(0x5000, PAGE + 0x5000, 0x1000, 3, 4096),
    )


def test_what_is_malformed_stands_where_it_is_found(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 3 | 1 << 11)
    bench.path(1 << 39, 0x3000 | 3 | 1 << 7, at=4)
    bench.path(1 << 30, (1 << 40) | 3, at=3)
    assert [(each.where, each.what.partition(" (")[0]) for each in listing(bench).problems] == [
        ("device address 0x0", "a reserved field of a second-level paging entry is not zero"),
        ("device address 0x40000000", "the level-2 table at 0x10000000000 is no memory"),
        ("device address 0x8000000000", "a reserved field of a second-level paging entry is not zero"),
    ]


def test_a_context_that_is_invalid_is_listed_with_its_reason_and_a_root_entry_too(bench: Bench) -> None:
    bench.context(TABLES | 1, 7)
    bench.set(ROOT + OTHER.bus * 16, CONTEXT | 1 | 1 << 5)
    function, bus = list_tables(bench.memory, ROOT, bench.unit.capability.rules)
    assert isinstance(function, FunctionListing)
    assert isinstance(function.context, Blocked)
    assert function.context.reason == 3
    assert bus == Problem("bus 03", "a reserved field of the root entry is not zero")


def test_a_table_that_leads_to_itself_does_not_list_for_ever(bench: Bench) -> None:
    bench.attach()
    for index in range(6):
        bench.set(TABLES + index * 8, TABLES | 3)
    found = listing(bench)
    assert len(found.ranges) <= 6**4


def test_pass_through_has_no_ranges(bench: Bench) -> None:
    bench.context(1 | 0b10 << 2, 5 << 8 | 2)
    found = listing(bench)
    assert not isinstance(found.context, Blocked)
    assert (found.context.pass_through, found.ranges) == (True, ())


def dump(bench: Bench, *pages: int) -> PageDump:
    return PageDump(
        [DumpedPages(f"{page:#x}", page, memoryview(bench.memory.read_ram(page, 4096) or b"")) for page in pages]
    )


def test_a_dump_answers_like_the_memory_it_was_made_of(bench: Bench) -> None:
    bench.attach()
    bench.path(0x1000, PAGE | 3)
    rules = bench.unit.capability.rules
    pages = dump(bench, ROOT, CONTEXT, *range(TABLES, TABLES + 0x4000, 0x1000))
    walks = [
        record_walk(memory, ROOT, rules, NIC.requester_id, iova=iova, right=WRITE)
        for memory in (pages, bench.memory)
        for iova in (0x1000, 0x2000, 1 << 48)
    ]
    assert walks[:3] == walks[3:]
    assert walks[0].steps[0].fields == "RootEntry(0x2001: P CTP=0x2)"


@pytest.mark.parametrize(("address", "length"), [(0x5000, 8), (ROOT + 0xFF8, 16), (0, 16)])
def test_memory_that_was_not_dumped_is_refused(bench: Bench, address: int, length: int) -> None:
    with pytest.raises(NotDumped, match=rf"^the {length} bytes at {address:#x} are not in the dump$"):
        dump(bench, ROOT, TABLES).read_ram(address, length)


def test_pages_that_two_pieces_hold_are_refused() -> None:
    pieces = [DumpedPages("a", 0x1000, memoryview(bytes(8192))), DumpedPages("b", 0x2000, memoryview(bytes(4096)))]
    with pytest.raises(BadDump, match=r"^b: must not overlap a, but both hold 0x2000 to 0x2fff$"):
        PageDump(pieces)


def test_every_interrupt_entry_says_what_it_raises_and_for_whom() -> None:
    bench = Bench(UnitCapability(posted_interrupts=True))
    remapped = 1 | 0x41 << 16 | 2 << 40 | 1 << 82 | NIC.requester_id << 64
    entries = (
        remapped,
        remapped | 1 << 80,
        1 | 2 << 82 | 0x0305 << 64,
        1 | 1 << 15 | 0x51 << 16 | (0x60040 >> 6) << 38,
        1 | 3 << 82,
        remapped | 1 << 12,
    )
    for index, entry in enumerate(entries):
        bench.set(IRT + index * 16, entry, 16)
    found = list(list_interrupts(bench.memory, interrupt_table(IRT | 7), bench.unit.capability.rules))
    assert [each.source for each in found] == [
        "02:00.0",
        "02:00.0 (bits 0xfffb)",
        "bus 03-05",
        "anybody",
        "nobody (SVT 3)",
        "02:00.0",
    ]
    assert found[0] == IrteListing(0, remapped, Interrupt(0x41, 2), "02:00.0")
    assert found[3].meaning == Posting(0x51, 0x60040, urgent=False)
    assert isinstance(found[5].meaning, Blocked)


def test_a_function_that_is_listed_is_named_by_its_bus_and_devfn(bench: Bench) -> None:
    bench.attach(Bdf(2, 31, 7))
    assert [
        each.source
        for each in islice(list_tables(bench.memory, ROOT, bench.unit.capability.rules), 2)
        if isinstance(each, FunctionListing)
    ] == [Bdf(2, 31, 7)]
