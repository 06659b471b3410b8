"""Hash algorithms by their TCG number: sizes, names, and the functions themselves.

Numbers as in the TCG Algorithm Registry, "TPM_ALG_ID". Algorithms are plain integers in every structure, because a log
may carry one that this program cannot compute (SM3): its digests are carried along and never judged.
"""

from __future__ import annotations

import hashlib
from typing import Final

SHA1: Final = 0x0004
SHA256: Final = 0x000B
SHA384: Final = 0x000C
SHA512: Final = 0x000D
SM3_256: Final = 0x0012

DIGEST_SIZES: Final = {SHA1: 20, SHA256: 32, SHA384: 48, SHA512: 64, SM3_256: 32}
"""Bytes of a digest, by algorithm."""

_COMPUTABLE: Final = {SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512"}


def computable(algorithm: int) -> bool:
    """Whether this program can compute the algorithm."""
    return algorithm in _COMPUTABLE


def algorithm_name(algorithm: int) -> str:
    """For instance ``SHA-256``; an unknown number as hexadecimal."""
    names = {SHA1: "SHA-1", SHA256: "SHA-256", SHA384: "SHA-384", SHA512: "SHA-512", SM3_256: "SM3-256"}
    return names.get(algorithm, f"algorithm {algorithm:#06x}")


def digest(algorithm: int, *parts: bytes) -> bytes:
    """H(parts one after the other); ValueError for an algorithm that is not computable."""
    if algorithm not in _COMPUTABLE:
        raise ValueError(f"the hash algorithm must be one of {sorted(_COMPUTABLE)}, not {algorithm:#x}")
    state = hashlib.new(_COMPUTABLE[algorithm], usedforsecurity=algorithm != SHA1)
    for part in parts:
        state.update(part)
    return state.digest()


def extended(algorithm: int, value: bytes, event_digest: bytes) -> bytes:
    """The value of a PCR after an extend: H(value || digest) (TPM 2.0 Library, Part 1, "PCR Operations")."""
    return digest(algorithm, value, event_digest)


def hash_sequence_value(algorithm: int, data: bytes) -> bytes:
    """PCR 17 after _TPM_Hash_Start, Data, End: H(0...0 || H(data)) (TPM 2.0 Library, Part 3, "_TPM_Hash_End")."""
    return extended(algorithm, bytes(DIGEST_SIZES[algorithm]), digest(algorithm, data))
