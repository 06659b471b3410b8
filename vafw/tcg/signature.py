"""TPMT_SIGNATURE with ECDSA on P-256 and SHA-256: between the TPM's form and the DER form of X9.62.

TPM 2.0 Library, Part 2, "TPMT_SIGNATURE" and "TPMS_SIGNATURE_ECC"; big-endian. Any other scheme or hash is refused
here, before a verifier could be talked into a weaker one.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from vafw.tcg.algorithms import SHA256
from vafw.wire import Reader

STRUCTURE: Final = "TPMT_SIGNATURE"
ECDSA: Final = 0x0018
"""TPM_ALG_ECDSA."""
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's base point (NIST SP 800-186, "P-256")."""
_SCALAR_BYTES: Final = 32


def encode_signature(der: bytes) -> bytes:
    """The TPM's form of a DER signature, both numbers padded to 32 bytes."""
    numbers = decode_dss_signature(der)
    head = ECDSA.to_bytes(2, "big") + SHA256.to_bytes(2, "big")
    scalars = (_SCALAR_BYTES.to_bytes(2, "big") + each.to_bytes(_SCALAR_BYTES, "big") for each in numbers)
    return head + b"".join(scalars)


def decode_signature(data: bytes) -> bytes:
    """The DER form of a TPM's signature; FormatError names the byte that is wrong."""
    reader = Reader(data, STRUCTURE, "big")
    if (scheme := reader.u16("the signature scheme")) != ECDSA:
        raise reader.error(f"the scheme must be {ECDSA:#x} (ECDSA), not {scheme:#x}", at=0)
    if (algorithm := reader.u16("the hash algorithm")) != SHA256:
        raise reader.error(f"the hash algorithm must be {SHA256:#x} (SHA-256), not {algorithm:#x}", at=2)
    numbers = _scalar(reader, "r"), _scalar(reader, "s")
    reader.finish()
    return encode_dss_signature(*numbers)


def _scalar(reader: Reader, name: str) -> int:
    start = reader.offset
    number = int.from_bytes(reader.sized(name, at_most=_SCALAR_BYTES), "big")
    if not 0 < number < P256_ORDER:
        raise reader.error(f"{name} must be from 1 to the order of P-256 less 1", at=start)
    return number
