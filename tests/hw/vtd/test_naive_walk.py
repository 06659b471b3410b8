"""Drawn tables: the unit gives the answers of a second walker, whatever is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.vtd.bench import CONTEXT, NIC, ROOT, TABLES, Bench
from tests.hw.vtd.naive import Answer, Machine, walk
from vafw.address import Iova
from vafw.hw.vtd import Translation, UnitCapability

ODD_BITS = (7, 8, 11, 12, 13, 20, 21, 29, 30, 40, 46, 51, 52, 61, 62, 63)
ELSEWHERE = (0xFEE0_0000, 0xFEEF_F000, 0xC000_0000, 0x4000_0000, 0x1_0000_0000)
ODD = st.lists(st.sampled_from(ODD_BITS), max_size=2).map(lambda bits: sum(1 << bit for bit in set(bits)))
MOSTLY_ORDINARY = st.one_of(st.just(0), st.just(0), ODD)


@dataclass(frozen=True)
class Entry:
    """One drawn paging entry."""

    rights: int
    odd: int
    target: int | None
    """None: the next table, or a frame that stands for itself."""


ENTRY = st.builds(
    Entry,
    rights=st.sampled_from([0, 1, 2, 3, 3, 3, 3, 3]),
    odd=MOSTLY_ORDINARY,
    target=st.one_of(st.none(), st.none(), st.none(), st.sampled_from(ELSEWHERE)),
)


def write_tables(bench: Bench, entries: list[Entry], levels: int, iova: int) -> None:
    """The n-th entry stands on the way to `iova` in the n-th table, which is n pages above TABLES."""
    for depth, entry in enumerate(entries[:levels]):
        table = TABLES + depth * 0x1000
        target = table + 0x1000 if entry.target is None else entry.target
        index = iova >> 3 + 9 * (levels - depth) & 511
        bench.set(table + index * 8, target | entry.rights | entry.odd)


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    guest_bits=st.sampled_from([39, 48, 57]),
    device_tlb=st.booleans(),
    snoop=st.booleans(),
    levels=st.sampled_from([2, 3, 4, 4, 5, 6]),
    kind=st.sampled_from([0, 0, 0, 0, 1, 2, 3]),
    root_odd=st.one_of(st.just(0), st.just(0), st.just(0), ODD),
    context_odd=st.one_of(st.just(0), st.just(0), st.just(0), ODD),
    present=st.sampled_from([0b11, 0b11, 0b11, 0b11, 0b01, 0b10]),
)
def test_drawn_tables_give_the_answers_of_the_second_walker(
    *,
    data: st.DataObject,
    guest_bits: int,
    device_tlb: bool,
    snoop: bool,
    levels: int,
    kind: int,
    root_odd: int,
    context_odd: int,
    present: int,
) -> None:
    capability = UnitCapability(guest_address_bits=guest_bits, device_tlb=device_tlb, snoop_control=snoop)
    bench = Bench(capability)
    entries = data.draw(st.lists(ENTRY, min_size=6, max_size=6))
    iova = data.draw(st.one_of(st.integers(0, (1 << min(12 + 9 * levels, 64)) - 1), st.integers(0, (1 << 58) - 1)))
    bench.set(ROOT + NIC.bus * 16, CONTEXT | present & 1 | root_odd)
    bench.set(CONTEXT + NIC.devfn * 16, TABLES | present >> 1 | kind << 2 | context_odd)
    bench.set(CONTEXT + NIC.devfn * 16 + 8, 5 << 8 | levels - 2 | data.draw(st.sampled_from([0, 0, 0, 0x78, 1 << 24])))
    write_tables(bench, entries, levels, iova)
    bench.start()
    machine = Machine(
        bench.memory,
        guest_bits=guest_bits,
        depths=tuple(range(3, (guest_bits - 12) // 9 + 1)),
        device_tlb=device_tlb,
        snoop=snoop,
    )
    for write in (False, True, False):
        expected = walk(machine, ROOT, NIC.requester_id, iova, write=write)
        assert asked(bench, iova, write) == expected


def asked(bench: Bench, iova: int, write: bool) -> Answer:
    answer = bench.unit.translate(NIC, Iova(iova), write=write)
    if isinstance(answer, Translation):
        return Answer(0, answer.hpa, answer.page_size, answer.domain)
    return Answer(answer.reason.value)
