from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.tcg import LAUNCH_SELECTION, SHA256, ClockInfo, FormatError, PcrSelection, QuoteAttest

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SELECTIONS = st.dictionaries(st.integers(0, 0xFFFF), st.lists(st.integers(0, 23)).map(tuple), max_size=4)
QUOTES = st.builds(
    QuoteAttest,
    qualified_signer=st.binary(max_size=66),
    nonce=st.binary(max_size=64),
    clock_info=st.builds(ClockInfo, U64, U32, U32, st.booleans()),
    firmware_version=U64,
    selection=SELECTIONS.map(PcrSelection.of),
    pcr_digest=st.binary(max_size=64),
)
QUOTE = QuoteAttest(b"", b"", ClockInfo(1, 2, 3, True), 4, LAUNCH_SELECTION, bytes(32))


@given(quote=QUOTES)
def test_a_quote_decodes_to_what_was_encoded(quote: QuoteAttest) -> None:
    assert QuoteAttest.decode(quote.encode()) == quote


@given(data=st.binary(max_size=150))
def test_noise_raises_format_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(FormatError):
        QuoteAttest.decode(data)


@given(quote=QUOTES, cut=st.integers(min_value=1))
def test_a_quote_cut_short_is_refused(quote: QuoteAttest, cut: int) -> None:
    encoded = quote.encode()
    with pytest.raises(FormatError):
        QuoteAttest.decode(encoded[: -(cut % len(encoded)) or -1])


@given(quote=QUOTES, byte=st.integers(min_value=0), value=st.integers(0, 255))
def test_whatever_decodes_encodes_to_the_same_bytes(quote: QuoteAttest, byte: int, value: int) -> None:
    data = bytearray(quote.encode())
    data[byte % len(data)] = value
    try:
        again = QuoteAttest.decode(bytes(data)).encode()
    except FormatError:
        again = bytes(data)
    assert again == bytes(data)


def test_the_bytes_are_those_of_the_library_specification() -> None:
    assert QUOTE.encode().hex() == (
        "ff544347" "8018" "0000" "0000" "0000000000000001" "00000002" "00000003" "01" "0000000000000004"
        "00000002" "000b" "03" "00000e" "0004" "03" "00000e" "0020" + "00" * 32
    )  # fmt: skip


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 0x00, "byte 0: the magic must be 0xff544347 (TPM_GENERATED), not 0x544347"),
        (5, 0x17, "byte 4: the type must be 0x8018 (TPM_ST_ATTEST_QUOTE), not 0x8017"),
        (7, 0x43, "byte 6: the qualified signer must have at most 66 bytes, not 67"),
        (9, 0x41, "byte 8: the nonce must have at most 64 bytes, not 65"),
        (26, 0x02, "byte 26: the safe flag must be 0 or 1, not 2"),
        (38, 0x11, "byte 35: a selection must have at most 16 banks, not 17"),
        (41, 0x04, "byte 41: a PCR bitmap must have 3 bytes, not 4"),
        (52, 0x41, "byte 51: the PCR digest must have at most 64 bytes, not 65"),
        (52, 0x1F, "byte 84: nothing may follow the structure, and 1 B do"),
    ],
)
def test_a_quote_that_is_wrong_is_refused_with_the_byte(offset: int, value: int, message: str) -> None:
    data = bytearray(QUOTE.encode())
    data[offset] = value
    with pytest.raises(FormatError) as refused:
        QuoteAttest.decode(bytes(data))
    assert str(refused.value) == f"TPMS_ATTEST, {message}"


def test_a_selection_prints_its_banks_and_registers() -> None:
    assert str(replace(QUOTE, selection=PcrSelection.of({SHA256: (19, 17), 4: ()})).selection) == (
        "SHA-256:17,19 and SHA-1:none"
    )


def test_a_selection_of_a_register_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a selection must name PCRs 0 to 23, not \(24,\)$"):
        PcrSelection.of({SHA256: (24,)})
