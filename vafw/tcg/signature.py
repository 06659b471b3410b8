"""TPMT_SIGNATURE over SHA-256: ECDSA on P-256 (between the TPM's form and the DER form of X9.62), RSASSA and RSAPSS.

TPM 2.0 Library, Part 2, "TPMT_SIGNATURE", "TPMS_SIGNATURE_ECC" and "TPMS_SIGNATURE_RSA"; big-endian. Any other scheme
or hash is refused here, before a verifier could be talked into a weaker one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from vafw.tcg.algorithms import SHA256
from vafw.wire import Reader

STRUCTURE: Final = "TPMT_SIGNATURE"
RSASSA: Final = 0x0014
"""TPM_ALG_RSASSA."""
RSAPSS: Final = 0x0016
"""TPM_ALG_RSAPSS."""
ECDSA: Final = 0x0018
"""TPM_ALG_ECDSA."""
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's base point (NIST SP 800-186, "P-256")."""
SCHEME_NAMES: Final = {RSASSA: "RSASSA", RSAPSS: "RSAPSS", ECDSA: "ECDSA"}
_SCALAR_BYTES: Final = 32
_FULL_SIZE: Final = _SCALAR_BYTES.to_bytes(2, "big")
_FULL_HEAD: Final = ECDSA.to_bytes(2, "big") + SHA256.to_bytes(2, "big") + _FULL_SIZE
_FULL_BYTES: Final = len(_FULL_HEAD) + _SCALAR_BYTES + len(_FULL_SIZE) + _SCALAR_BYTES
"""Of a signature whose numbers both fill their 32 bytes, as those of most TPMs always do."""
_MOST_RSA_BYTES: Final = 512


@final
@dataclass(frozen=True, slots=True)
class Signature:
    """A TPM's signature, in the form that cryptography takes."""

    scheme: int
    value: bytes
    """DER for ECDSA, the padded number for RSA."""

    @classmethod
    def decode(cls, data: bytes) -> Signature:
        """Read TPMT_SIGNATURE; FormatError names the byte that is wrong."""
        if len(data) == _FULL_BYTES and data.startswith(_FULL_HEAD) and data[38:40] == _FULL_SIZE:
            r, s = int.from_bytes(data[6:38], "big"), int.from_bytes(data[40:], "big")
            if 0 < r < P256_ORDER and 0 < s < P256_ORDER:  # nearly every signature: read at once, or else step by step
                return cls(ECDSA, encode_dss_signature(r, s))
        reader = Reader(data, STRUCTURE, "big")
        if (scheme := reader.u16("the signature scheme")) not in SCHEME_NAMES:
            wanted = ", ".join(f"{each:#x} ({name})" for each, name in SCHEME_NAMES.items())
            raise reader.error(f"the scheme must be one of {wanted}, not {scheme:#x}", at=0)
        if (algorithm := reader.u16("the hash algorithm")) != SHA256:
            raise reader.error(f"the hash algorithm must be {SHA256:#x} (SHA-256), not {algorithm:#x}", at=2)
        if scheme == ECDSA:
            value = encode_dss_signature(_scalar(reader, "r"), _scalar(reader, "s"))
        else:
            value = reader.sized("the signature", at_most=_MOST_RSA_BYTES)
        reader.finish()
        return cls(scheme, value)


def encode_signature(der: bytes) -> bytes:
    """The TPM's form of a DER signature, both numbers padded to 32 bytes."""
    numbers = decode_dss_signature(der)
    head = ECDSA.to_bytes(2, "big") + SHA256.to_bytes(2, "big")
    scalars = (_SCALAR_BYTES.to_bytes(2, "big") + each.to_bytes(_SCALAR_BYTES, "big") for each in numbers)
    return head + b"".join(scalars)


def _scalar(reader: Reader, name: str) -> int:
    start = reader.offset
    number = int.from_bytes(reader.sized(name, at_most=_SCALAR_BYTES), "big")
    if not 0 < number < P256_ORDER:
        raise reader.error(f"{name} must be from 1 to the order of P-256 less 1", at=start)
    return number
