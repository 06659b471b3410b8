"""Recording, compression, overflow and the fault event: cases 23 to 25."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import FEADDR, FECTL, FEDATA, FSTS, NIC, OTHER, Bench, Record
from vafw.hw.vtd import UnitCapability

PFO, PPF = 1, 2
IM, IP = 1 << 31, 1 << 30


@pytest.fixture
def single() -> Bench:
    """A unit with one fault record, translation on, every request blocked."""
    bench = Bench(UnitCapability(fault_records=1))
    bench.start()
    return bench


def test_a_second_fault_of_the_same_requester_is_compressed(single: Bench) -> None:
    single.ask(0x1000)
    single.ask(0x2000)
    assert single.records() == (Record(1, NIC.requester_id, 0x1000, read=True),)
    assert single.register(FSTS) == PPF


def test_a_fault_of_another_requester_overflows_a_full_log(single: Bench) -> None:
    single.ask(0x1000)
    single.ask(0x2000, bdf=OTHER)
    assert single.register(FSTS) == PPF | PFO


def test_overflow_survives_the_record_and_stops_recording_until_it_is_cleared(single: Bench) -> None:
    single.ask(0x1000)
    single.ask(0x2000, bdf=OTHER)
    single.clear_record()
    assert single.register(FSTS) == PFO
    single.ask(0x3000)
    assert single.records() == ()
    single.write(FSTS, PFO)
    single.ask(0x4000)
    assert single.records() == (Record(1, NIC.requester_id, 0x4000, read=True),)


def test_ppf_is_read_only_and_follows_the_records(single: Bench) -> None:
    single.ask(0x1000)
    single.write(FSTS, PPF)
    assert single.register(FSTS) == PPF
    single.clear_record()
    assert single.register(FSTS) == 0


def test_records_are_filled_in_turn_and_fri_names_the_first(bench: Bench) -> None:
    bench.start()
    bench.ask(0x1000)
    bench.clear_record()
    bench.ask(0x2000)
    bench.ask(0x3000, bdf=OTHER)
    assert bench.register(FSTS) == 1 << 8 | PPF
    assert [each.address for each in bench.records()] == [0x2000, 0x3000]


def test_the_event_is_raised_once_for_all_pending_records(bench: Bench) -> None:
    bench.start()
    bench.write(FEDATA, 0x41)
    bench.write(FEADDR, 0xFEE0_0000)
    bench.write(FECTL, 0)
    bench.ask(0x1000)
    bench.ask(0x2000, bdf=OTHER)
    assert bench.unit.take_messages() == ((0xFEE0_0000, 0x41),)
    assert bench.unit.take_messages() == ()


def test_a_masked_event_is_pending_and_unmasking_fires_it_once(bench: Bench) -> None:
    bench.start()
    assert bench.register(FECTL) == IM
    bench.ask(0x1000)
    assert (bench.register(FECTL), bench.unit.take_messages()) == (IM | IP, ())
    bench.write(FECTL, 0)
    assert len(bench.unit.take_messages()) == 1
    bench.write(FECTL, 0)
    assert (bench.register(FECTL), bench.unit.take_messages()) == (0, ())


def test_a_pending_event_that_was_serviced_is_no_longer_pending(bench: Bench) -> None:
    bench.start()
    bench.ask(0x1000)
    bench.clear_record()
    assert bench.register(FECTL) == IM
    bench.write(FECTL, 0)
    assert bench.unit.take_messages() == ()
