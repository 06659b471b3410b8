"""What an event says and its digests do not bear out."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.attest.logs.describe import entries
from vafw.attest.logs.read import read_log
from vafw.tcg import SHA1, SHA256, Event, EventType, encode_log
from vafw.tcg.algorithms import digest, hash_sequence_value
from vafw.wire import FormatError

BANKS = (SHA1, SHA256)


def event(event_type: int, data: bytes, *, hashed: bytes | None = None, pcr: int = 4) -> Event:
    content = data if hashed is None else hashed
    return Event(pcr, event_type, {bank: digest(bank, content) for bank in BANKS}, data)


def lies(told: Event) -> tuple[str, ...]:
    return entries([told])[0].lies


@pytest.mark.parametrize(
    "event_type",
    [
        EventType.EV_S_CRTM_VERSION,
        EventType.EV_EFI_ACTION,
        EventType.EV_ACTION,
        EventType.TXT_LCP_CONTROL_HASH,
        EventType.TXT_OSSINITDATA_CAP_HASH,
    ],
)
def test_data_that_the_digests_must_cover_and_do_not_is_a_lie(event_type: int) -> None:
    assert lies(event(event_type, b"told")) == ()
    assert lies(event(event_type, b"told", hashed=b"done")) == ("the SHA-1 and SHA-256 digest is not that of the data",)


def test_one_digest_of_several_that_differs_is_named() -> None:
    told = event(EventType.EV_EFI_ACTION, b"told")
    half = Event(told.pcr, told.event_type, {**told.digests, SHA1: bytes(20)}, told.data)
    assert lies(half) == ("the SHA-1 digest is not that of the data",)


def test_hash_start_must_carry_the_value_that_its_data_gives() -> None:
    data = bytes(32) + bytes(4)
    right = Event(17, EventType.TXT_HASH_START, {SHA256: hash_sequence_value(SHA256, data)}, data)
    assert lies(right) == ()
    assert lies(event(EventType.TXT_HASH_START, data)) == ("the SHA-1 and SHA-256 digest is not that of the data",)


@pytest.mark.parametrize(
    ("event_type", "data", "lie"),
    [
        (
            EventType.EV_SEPARATOR,
            b"\2\0\0\0",
            "EV_SEPARATOR: the data must be 4 bytes of 0, 1 or all ones, not 02000000",
        ),
        (EventType.EV_SEPARATOR, b"", "EV_SEPARATOR: the data must be 4 bytes of 0, 1 or all ones, not "),
        (EventType.TXT_PCR_MAPPING, b"\2\0\0\0", "PCR_MAPPING: the data must be 0 or 1 in 4 bytes, not 02000000"),
        (
            EventType.EV_EFI_BOOT_SERVICES_APPLICATION,
            bytes(24) + b"\5" + bytes(7),
            "UEFI_IMAGE_LOAD_EVENT, byte 24: the device path must fill the 0 bytes that are left, not 5",
        ),
        (
            EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
            bytes(16) + b"\xff" * 16,
            "UEFI_VARIABLE_DATA, byte 16: the name must have at most 1024 characters, not 18446744073709551615",
        ),
        (
            EventType.EV_EFI_GPT_EVENT,
            b"NOT PART" + bytes(92),
            "UEFI_GPT_DATA, byte 0: the signature must be 'EFI PART', not b'NOT PART'",
        ),
        (
            EventType.EV_EFI_HANDOFF_TABLES,
            b"\1" + bytes(7),
            "UEFI_HANDOFF_TABLE_POINTERS, byte 8: a GUID must have 16 bytes, and 0 are left",
        ),
        (
            EventType.EV_EVENT_TAG,
            bytes(4) + b"\x09" + bytes(3),
            "TCG_PCClientTaggedEvent, byte 4: the data must fill the 0 bytes that are left, not 9",
        ),
    ],
)
def test_data_that_is_not_what_its_type_holds_is_a_lie(event_type: int, data: bytes, lie: str) -> None:
    assert lies(event(event_type, data))[-1] == f"the data is not what an event of this type holds: {lie}"


def test_an_event_that_measures_nothing_and_carries_digests_is_a_lie() -> None:
    nothing = Event(0, EventType.EV_NO_ACTION, {SHA256: bytes(32)}, b"x")
    assert lies(nothing) == ()
    assert lies(event(EventType.EV_NO_ACTION, b"x")) == ("an event that measures nothing must have digests of zeros",)


def test_a_boot_variable_may_be_measured_whole_or_by_its_content() -> None:
    whole = bytes(16) + (1).to_bytes(8, "little") + (2).to_bytes(8, "little") + "A".encode("utf-16-le") + b"xy"
    for hashed in (whole, b"xy"):
        assert lies(event(EventType.EV_EFI_VARIABLE_BOOT, whole, hashed=hashed)) == ()
    assert lies(event(EventType.EV_EFI_VARIABLE_BOOT, whole, hashed=b"y")) != ()


TYPES = st.sampled_from([int(each) for each in EventType] + [0x1234])


@given(TYPES, st.binary(max_size=200))
def test_no_data_of_any_type_ends_in_an_exception(event_type: int, data: bytes) -> None:
    (entry,) = entries([event(event_type, data)])
    assert entry.to_json()["pcr"] == 4


@given(st.binary(max_size=300))
def test_noise_is_a_log_or_a_format_error(noise: bytes) -> None:
    with contextlib.suppress(FormatError):
        read_log(noise)


@given(st.binary(max_size=200))
def test_noise_behind_a_header_is_a_log_or_a_format_error(noise: bytes) -> None:
    header = encode_log([], BANKS)
    with contextlib.suppress(FormatError):
        assert len(read_log(header + noise).entries) > 0 or not noise
