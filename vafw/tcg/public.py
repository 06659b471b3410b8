"""The public area of an attestation key, and its names: how a quote says who signed it.

TPM 2.0 Library, Part 2, "TPMT_PUBLIC" and Part 1, "Names"; big-endian. Not a decoder: the verifier is given a key, and
believes nothing that a TPM says of it.
"""

from __future__ import annotations

from typing import Final

from vafw.tcg.algorithms import SHA256, digest

ENDORSEMENT_HIERARCHY: Final = 0x4000000B
"""TPM_RH_ENDORSEMENT: quotes of its keys carry the real counts, those of the owner hierarchy obfuscated ones."""
_ECC: Final = 0x0023
_ECDSA: Final = 0x0018
_NULL: Final = 0x0010
_NIST_P256: Final = 0x0003
_ATTRIBUTES: Final = 0x0005_0072
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign ("TPMA_OBJECT")."""


def attestation_key_area(x: int, y: int) -> bytes:
    """TPMT_PUBLIC of a restricted P-256 signing key that never leaves its TPM."""
    point = b"".join(_sized(each.to_bytes(32, "big")) for each in (x, y))
    scheme = (_NULL, _ECDSA, SHA256, _NIST_P256, _NULL)  # no symmetric cipher; ECDSA with SHA-256; curve; no KDF
    return b"".join(
        (
            _ECC.to_bytes(2, "big"),
            SHA256.to_bytes(2, "big"),
            _ATTRIBUTES.to_bytes(4, "big"),
            _sized(b""),
            *(each.to_bytes(2, "big") for each in scheme),
            point,
        )
    )


def name_of(public_area: bytes) -> bytes:
    """The name of an object: its name algorithm, and the digest of its public area."""
    return SHA256.to_bytes(2, "big") + digest(SHA256, public_area)


def qualified_name(hierarchy: int, name: bytes) -> bytes:
    """The qualified name of a primary object: bound to the hierarchy that it was made under."""
    return SHA256.to_bytes(2, "big") + digest(SHA256, hierarchy.to_bytes(4, "big"), name)


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content
