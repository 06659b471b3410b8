from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.tcg import SHA1, SHA256, Event, EventType, FormatError, replay
from vafw.tcg.algorithms import SM3_256


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def test_a_log_without_events_replays_to_nothing() -> None:
    assert replay([]) == {}


@given(values=st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5))
def test_events_extend_from_zero_after_a_launch_and_from_ones_without_one(values: list[bytes]) -> None:
    launched, never = bytes(32), b"\xff" * 32
    for value in values:
        launched, never = sha256(launched, value), sha256(never, value)
    events = [Event(18, 0x410, {SHA256: value}) for value in values]
    start = Event(17, EventType.TXT_HASH_START, {SHA256: bytes(32)})
    assert replay(events) == {SHA256: {18: never}}
    assert replay([start, *events])[SHA256][18] == launched
    assert replay([*events, start])[SHA256][18] == bytes(32)


@pytest.mark.parametrize(("pcr", "start"), [(0, bytes(31) + b"\3"), (1, bytes(32)), (16, bytes(32)), (23, bytes(32))])
def test_the_locality_of_startup_is_where_pcr_0_starts(pcr: int, start: bytes) -> None:
    told = Event(0, EventType.EV_NO_ACTION, {SHA256: bytes(32)}, b"StartupLocality\0\3")
    assert replay([told, Event(pcr, 0x8, {SHA256: bytes(32)})]) == {SHA256: {pcr: sha256(start, bytes(32))}}


def test_hash_start_loads_and_the_next_event_extends() -> None:
    start = bytes(range(20))
    events = [Event(17, EventType.TXT_HASH_START, {SHA1: start}), Event(17, 0x404, {SHA1: bytes(20)})]
    assert replay(events[:1]) == {SHA1: {17: start}}
    assert replay(events) == {SHA1: {17: hashlib.sha1(start + bytes(20), usedforsecurity=False).digest()}}


@pytest.mark.parametrize(("pcr", "event_type"), [(0, EventType.EV_NO_ACTION), (255, EventType.TXT_PCR_MAPPING)])
def test_events_that_only_inform_extend_nothing(pcr: int, event_type: int) -> None:
    assert replay([Event(pcr, event_type, {SHA256: bytes(32)})]) == {}


def test_an_event_of_an_unknown_type_extends() -> None:
    assert replay([Event(16, 0x4AA, {SHA256: bytes(32)})]) == {SHA256: {16: sha256(bytes(64))}}


def test_digests_that_nobody_here_can_compute_are_left_out() -> None:
    assert replay([Event(17, 0x404, {SHA256: bytes(32), SM3_256: bytes(32)})]).keys() == {SHA256}


def test_an_event_of_a_register_that_does_not_exist_is_refused() -> None:
    with pytest.raises(FormatError) as refused:
        replay([Event(24, 0x404, {SHA256: bytes(32)})])
    assert str(refused.value) == "event log: the PCR of an event must be 0 to 23, not 24"
