"""Drawn interrupt tables and messages: the unit answers like a second reader, written from the bit tables alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.vtd.bench import IRE, IRT, IRTA, SIRTP, Bench
from vafw.address import Bdf
from vafw.hw.vtd import Interrupt, InterruptFault
from vafw.hw.vtd.interrupt_listing import IrteListing, follow_message, interrupt_table
from vafw.hw.vtd.table_walk import Blocked

SIZE = 2
"""IRTA.S: eight entries."""
ODD = st.lists(st.integers(0, 127), max_size=1).map(lambda bits: sum(1 << bit for bit in bits))
Answer = tuple[int, int, int, int, bool, bool]
"""Reason, vector, destination, delivery mode, logical, level."""


def blocked(reason: int) -> Answer:
    return reason, 0, 0, 0, False, False


def naive(entries: list[int], address: int, data: int, requester: int, *, extended: bool) -> Answer:
    """Bits lowest first, as the figures of the specification number them."""
    bits = format(address, "064b")[::-1]
    handle = int(bits[5:20][::-1], 2) + (2**15 if bits[2] == "1" else 0)
    shv = bits[3] == "1"
    if "1" in bits[32:] or (data > 0xFFFF if shv else data > 0):
        return blocked(0x20)
    index = handle + (data if shv else 0)
    if index >= len(entries):
        return blocked(0x21)
    entry = format(entries[index], "0128b")[::-1]
    if entry[0] == "0":
        return blocked(0x22)
    reserved = entry[12:16] + entry[24:32] + entry[84:] + ("" if extended else entry[32:40] + entry[48:64])
    if "1" in reserved:
        return blocked(0x24)
    allowed, asks = int(entry[64:80][::-1], 2), requester
    ignored = {"00": 0, "10": 4, "01": 6, "11": 7}[entry[80:82]]
    verified = {
        "00": True,
        "10": allowed | ignored == asks | ignored,
        "01": allowed // 256 <= asks // 256 <= allowed % 256,
        "11": False,
    }[entry[82:84]]
    if not verified:
        return blocked(0x26)
    where = entry[32:64] if extended else entry[40:48]
    return (
        0,
        int(entry[16:24][::-1], 2),
        int(where[::-1], 2),
        int(entry[5:8][::-1], 2),
        entry[2] == "1",
        entry[4] == "1",
    )


ENTRY = st.builds(
    lambda present, low, vector, destination, source, verification, odd: (
        (present | low << 2 | vector << 16 | destination << 40 | source << 64 | verification << 80) ^ odd
    ),
    present=st.sampled_from([1, 1, 1, 1, 0]),
    low=st.integers(0, 63),
    vector=st.integers(0, 255),
    destination=st.integers(0, 255),
    source=st.sampled_from([0x200, 0x201, 0x204, 0x104, 0x0205]),
    verification=st.integers(0, 15),
    odd=st.one_of(st.just(0), st.just(0), ODD),
)


@settings(max_examples=300, deadline=None)
@given(
    entries=st.lists(ENTRY, min_size=2 << SIZE, max_size=2 << SIZE),
    handle=st.one_of(st.integers(0, 9), st.integers(0, 0xFFFF)),
    shv=st.booleans(),
    data=st.one_of(st.just(0), st.integers(0, 8), st.integers(0, 1 << 17)),
    high=st.sampled_from([0, 0, 0, 1]),
    requester=st.sampled_from([0x200, 0x201, 0x204, 0x300]),
    extended=st.booleans(),
)
def test_drawn_tables_and_messages_give_the_answers_of_the_second_reader(
    *, entries: list[int], handle: int, shv: bool, data: int, high: int, requester: int, extended: bool
) -> None:
    bench = Bench()
    for index, entry in enumerate(entries):
        bench.set(IRT + index * 16, entry, 16)
    irta = IRT | extended << 11 | SIZE
    bench.write(IRTA, irta, 8)
    bench.command(SIRTP)
    bench.command(IRE)
    address = 0xFEE << 20 | (handle & 0x7FFF) << 5 | 1 << 4 | shv << 3 | (handle >> 15) << 2 | high << 32
    expected = naive(entries, address, data, requester, extended=extended)
    for _ in range(2):
        assert seen(bench.unit.remap(Bdf.from_requester_id(requester), address, data)) == expected
    rules = bench.unit.capability.rules
    followed = follow_message(bench.memory, interrupt_table(irta), rules, requester, address=address, data=data)
    assert followed_as(followed) == expected


def seen(answer: object) -> Answer:
    if isinstance(answer, InterruptFault):
        return blocked(answer.reason)
    assert isinstance(answer, Interrupt)
    return 0, answer.vector, answer.destination, answer.delivery_mode, answer.logical, answer.level_triggered


def followed_as(answer: IrteListing | Blocked) -> Answer:
    return blocked(answer.reason) if isinstance(answer, Blocked) else seen(answer.meaning)
