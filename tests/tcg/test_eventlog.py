from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.tcg import SHA1, SHA256, Event, EventType, FormatError, decode_log, encode_event, encode_header, encode_log
from vafw.tcg.eventlog import LogHeader, decode_log_with_header

BOTH = (SHA256, SHA1)
EVENT = Event(17, EventType.TXT_MLE_HASH, {SHA256: bytes(32), SHA1: bytes(20)}, b"data")
EVENTS = st.lists(
    st.builds(
        Event,
        pcr=st.integers(0, 23),
        event_type=st.integers(0, 0xFFFFFFFF),
        digests=st.fixed_dictionaries(
            {SHA256: st.binary(min_size=32, max_size=32), SHA1: st.binary(min_size=20, max_size=20)}
        ),
        data=st.binary(max_size=40),
    ),
    max_size=6,
)


def refusal(data: bytes) -> str:
    with pytest.raises(FormatError) as refused:
        decode_log(data)
    return str(refused.value)


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


@given(events=EVENTS)
def test_a_log_decodes_to_what_was_encoded(events: list[Event]) -> None:
    encoded = encode_log(events)
    assert decode_log(encoded) == tuple(events)
    assert encode_log(decode_log(encoded)) == encoded


@given(data=st.binary(max_size=200))
def test_noise_raises_format_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_log(data)


@given(events=EVENTS, cut=st.integers(min_value=0), noise=st.binary(min_size=1, max_size=8))
def test_a_log_with_noise_in_it_raises_format_error_or_decodes(events: list[Event], cut: int, noise: bytes) -> None:
    encoded = encode_log(events)
    damaged = patched(encoded, cut % len(encoded), noise)
    try:
        decoded: tuple[Event, ...] = decode_log(damaged)
    except FormatError:
        decoded = ()
    assert len(decoded) <= len(damaged)


def test_a_log_can_be_appended_to_event_by_event() -> None:
    assert encode_header(BOTH) + encode_event(EVENT) + encode_event(EVENT) == encode_log([EVENT, EVENT])


def test_the_header_has_the_bytes_of_the_firmware_profile() -> None:
    assert encode_header((SHA256, SHA1)).hex() == (
        "00000000" "03000000" + "00" * 20 + "25000000"
        "53706563204944204576656e74303300" "00000000" "00020002" "02000000" "0b002000" "04001400" "00"
    )  # fmt: skip


def test_the_header_says_what_it_was_made_of() -> None:
    assert decode_log_with_header(encode_header((SHA256,)))[0] == LogHeader.of((SHA256,))


def test_an_event_prints_its_register_and_its_name() -> None:
    assert str(EVENT) == "PCR 17 MLE_HASH"


def test_an_event_that_lacks_an_algorithm_is_not_encoded_and_refused() -> None:
    with pytest.raises(FormatError) as refused:
        encode_log([EVENT, Event(17, 0x404, {SHA256: bytes(32)})])
    assert str(refused.value) == "event log: event #2 must carry SHA-256 and SHA-1, not SHA-256"


def test_an_event_that_lacks_an_algorithm_is_refused() -> None:
    data = encode_header(BOTH) + encode_event(Event(17, 0x404, {SHA256: bytes(32)}))
    assert refusal(data) == "event log, byte 77: an event must carry SHA-256 and SHA-1, not 1 digests"


def test_an_event_that_carries_an_algorithm_twice_is_refused() -> None:
    data = bytearray(encode_log([Event(17, 0x404, {SHA256: bytes(32), SHA1: bytes(20)})]))
    data[81 + 34 : 81 + 36] = b"\x0b\x00"
    assert refusal(bytes(data)) == "event log, byte 115: an event must carry SHA-256 and SHA-1 once each, not SHA-256"


def test_an_event_of_a_foreign_algorithm_is_refused() -> None:
    data = patched(encode_log([EVENT]), 81, b"\x0c\x00")
    assert refusal(data) == "event log, byte 81: an event must carry SHA-256 and SHA-1 once each, not SHA-384"


def test_an_event_of_a_register_that_does_not_exist_is_refused() -> None:
    assert refusal(patched(encode_log([EVENT]), 69, b"\x18")) == (
        "event log, byte 69: the PCR of an event must be 0 to 23, not 24"
    )


def test_a_mapping_event_may_speak_of_no_register() -> None:
    mapping = Event(255, EventType.TXT_PCR_MAPPING, {SHA256: bytes(32), SHA1: bytes(20)}, b"\1\0\0\0")
    assert decode_log(encode_log([mapping])) == (mapping,)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"\1", "byte 0: the first event must be of PCR 0, not 1"),
        (4, b"\4", "byte 4: the first event must be EV_NO_ACTION (3), not EV_SEPARATOR"),
        (8, b"\1", "byte 8: the digest of the first event must be zero"),
        (28, b"\xff\xff", "byte 32: the first event must have 65535 bytes, and 37 are left"),
        (32, b"X", "byte 32: the signature must be b'Spec ID Event03\\x00', not b'Xpec ID Event03\\x00'"),
        (53, b"\3", "byte 52: the version must be 2.0, not 3.0"),
        (55, b"\0", "byte 55: the size of UINTN must be 1 or 2, not 0"),
        (56, b"\0", "byte 56: the number of algorithms must be 1 to 16, not 0"),
        (56, b"\x11", "byte 56: the number of algorithms must be 1 to 16, not 17"),
        (62, b"\x21", "byte 60: a digest of SHA-256 must have 32 bytes, not 33"),
        (60, b"\x0f\0\0\0", "byte 60: a digest of algorithm 0x000f must have some bytes, not 0"),
        (64, b"\x0b\0\x20\0", "byte 64: SHA-256 must stand in the list once"),
        (68, b"\0" * 2, "byte 69: the PCR of an event must have 4 bytes, and 1 are left"),
        (68, b"\1", "byte 69: the vendor information must have 1 bytes, and 0 are left"),
    ],
)
def test_a_header_that_is_wrong_is_refused_with_the_byte(offset: int, value: bytes, message: str) -> None:
    assert refusal(patched(encode_header(BOTH), offset, value)) == f"event log, {message}"


def test_a_log_that_ends_inside_an_event_is_refused() -> None:
    assert refusal(encode_log([EVENT])[:-1]) == (
        "event log, byte 141: an event's data must have 4 bytes, and 3 are left"
    )


def test_a_huge_size_is_refused_before_anything_is_allocated() -> None:
    data = patched(encode_log([EVENT]), 137, b"\xff\xff\xff\xff")
    assert refusal(data) == "event log, byte 141: an event's data must have 4294967295 bytes, and 4 are left"


def test_an_empty_log_is_refused() -> None:
    assert refusal(b"") == "event log, byte 0: the PCR of the first event must have 4 bytes, and 0 are left"
