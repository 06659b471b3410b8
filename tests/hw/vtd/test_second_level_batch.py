"""Many walks at once give what one walk at a time gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.vtd.bench import CONTEXT, NIC, ROOT, TABLES, Bench
from tests.hw.vtd.test_naive_walk import ENTRY, Entry, write_tables
from vafw.hw.memory.batch import REFUSED
from vafw.hw.vtd import UnitCapability
from vafw.hw.vtd.context import Context, find_context
from vafw.hw.vtd.second_level import SecondLevel
from vafw.hw.vtd.second_level_batch import SecondLevelBatch
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked

ADDRESS_BITS = st.lists(st.sampled_from([0, 1, 2, 511]), min_size=5, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    levels=st.sampled_from([3, 4, 5]),
    device_tlb=st.booleans(),
    ways=st.lists(st.tuples(ADDRESS_BITS, st.lists(ENTRY, min_size=5, max_size=5)), min_size=1, max_size=4),
)
def test_a_batch_gives_the_answers_of_the_walk(
    levels: int, device_tlb: bool, ways: list[tuple[list[int], list[Entry]]]
) -> None:
    bench = Bench(UnitCapability(guest_address_bits=57, device_tlb=device_tlb))
    bench.attach(levels=levels)
    addresses = [sum(index << 12 + 9 * level for level, index in enumerate(bits)) for bits, _ in ways]
    for iova, (_, entries) in zip(addresses, ways, strict=True):
        write_tables(bench, entries, levels, iova)
    rules = bench.unit.capability.rules
    context = find_context(bench.memory, ROOT, NIC.requester_id, rules)
    assert isinstance(context, Context)
    asked = [each + offset for each in addresses for offset in (0, 8, 0x5123, 1 << 21, 1 << 30)]
    batch = SecondLevelBatch(bench.memory, rules, context)
    walker = SecondLevel(bench.memory, rules)
    for right in (READ, WRITE):
        found = [walker.leaf(context, iova, right) for iova in asked]
        expected = [
            REFUSED if isinstance(leaf, Blocked) else leaf.frame | iova & leaf.size - 1
            for leaf, iova in zip(found, asked, strict=True)
        ]
        assert batch.translate(np.array(asked, np.uint64), right).tolist() == expected


def test_what_passes_through_is_its_own_answer(bench: Bench) -> None:
    bench.set(ROOT + NIC.bus * 16, CONTEXT | 1)
    bench.set(CONTEXT + NIC.devfn * 16, TABLES | 1 | 0b10 << 2)
    bench.set(CONTEXT + NIC.devfn * 16 + 8, 2)
    rules = bench.unit.capability.rules
    context = find_context(bench.memory, ROOT, NIC.requester_id, rules)
    assert isinstance(context, Context)
    assert SecondLevelBatch(bench.memory, rules, context).translate(np.array([5], np.uint64), READ).tolist() == [5]
