from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from vafw.tcg import FormatError
from vafw.tcg.signature import ECDSA, P256_ORDER, Signature, encode_signature

SCALARS = st.integers(1, P256_ORDER - 1)
GOOD = encode_signature(encode_dss_signature(1, 2))


@given(r=SCALARS, s=SCALARS)
def test_a_signature_survives_the_way_there_and_back(r: int, s: int) -> None:
    der = encode_dss_signature(r, s)
    assert Signature.decode(encode_signature(der)) == Signature(ECDSA, der)


@given(data=st.binary(max_size=90))
def test_noise_raises_format_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(FormatError):
        Signature.decode(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"\x00\x1a" + GOOD[2:],
            "byte 0: the scheme must be one of 0x14 (RSASSA), 0x16 (RSAPSS), 0x18 (ECDSA), not 0x1a",
        ),
        (GOOD[:2] + b"\x00\x04" + GOOD[4:], "byte 2: the hash algorithm must be 0xb (SHA-256), not 0x4"),
        (GOOD[:5] + b"\x21" + GOOD[6:], "byte 4: r must have at most 32 bytes, not 33"),
        (GOOD[:6] + bytes(32) + GOOD[38:], "byte 4: r must be from 1 to the order of P-256 less 1"),
        (GOOD[:40] + P256_ORDER.to_bytes(32, "big"), "byte 38: s must be from 1 to the order of P-256 less 1"),
        (GOOD[:-1], "byte 40: s must have 32 bytes, and 31 are left"),
        (GOOD + b"\0", "byte 72: nothing may follow the structure, and 1 B do"),
    ],
)
def test_a_signature_that_is_wrong_is_refused_with_the_byte(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as refused:
        Signature.decode(data)
    assert str(refused.value) == f"TPMT_SIGNATURE, {message}"
