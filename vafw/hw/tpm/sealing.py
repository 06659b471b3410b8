"""Sealed data: a secret that only this TPM opens, and only for a session that satisfies its policy.

TPM 2.0 Library, Part 3, "TPM2_Create" of a KEYEDHASH object, and "TPM2_Unseal". The object's private part goes out of
the TPM encrypted and may lie anywhere; the model encrypts with AES-GCM under a key of its own instead of the library's
CFB and HMAC, as no other TPM ever reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vafw.hw.tpm.rc import ResponseCode, TpmError

MOST_SEALED_BYTES: Final = 128
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class SealedData:
    """What TPM2_Create gives out."""

    policy: bytes
    """authPolicy, 32 bytes; empty for data that anybody may unseal."""
    private: bytes
    """Encrypted, and bound to the policy."""


@final
class StorageKey:
    """The TPM's storage root: seals and opens."""

    def __init__(self, key: bytes) -> None:
        """`key` has 32 bytes."""
        self._cipher = AESGCM(key)
        self._sealed = 0

    def seal(self, secret: bytes, policy: bytes) -> SealedData:
        """Encrypt a secret of at most 128 bytes."""
        if not 0 < len(secret) <= MOST_SEALED_BYTES:
            raise TpmError(
                ResponseCode.SIZE, f"sealed data must have 1 to {MOST_SEALED_BYTES} bytes, not {len(secret)}"
            )
        self._sealed += 1
        nonce = self._sealed.to_bytes(_NONCE_BYTES, "big")
        return SealedData(policy, nonce + self._cipher.encrypt(nonce, secret, policy))

    def open(self, sealed: SealedData) -> bytes:
        """Decrypt; TpmError where a bit of it, or of its policy, is not what was sealed, or another TPM sealed it."""
        nonce, content = sealed.private[:_NONCE_BYTES], sealed.private[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, content, sealed.policy)
        except (InvalidTag, ValueError) as error:
            reason = "sealed data must be as this TPM made it, with the policy it was made with"
            raise TpmError(ResponseCode.INTEGRITY, reason) from error
