"""Credentials: secrets that only the TPM with a given endorsement key can open, and only if it holds a given other key.

TPM 2.0 Library, Part 1, "Credential Protection": whoever enrols a TPM makes a credential for its endorsement key and
for the name of the attestation key. TPM2_ActivateCredential gives the secret away only where both keys lie in the one
TPM, with exactly the attributes that the name covers. Here are both ends: making, which the enrolling side does, and
opening, which a modelled TPM does.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from vafw.tcg import public
from vafw.tcg.public import PublicArea
from vafw.tcg.signature import P256_ORDER
from vafw.wire import FormatError, Reader

STRUCTURE: Final = "TPMS_ID_OBJECT"
_SEED_BYTES: Final = 32
_LABEL: Final = b"IDENTITY\0"
_ACCEPTED_CIPHER: Final = (public.AES, 128, public.CFB)


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes to the TPM."""

    id_object: bytes
    """TPMS_ID_OBJECT: the secret encrypted, and what keeps it from being altered."""
    encrypted_seed: bytes
    """The seed for that, encrypted to the endorsement key (TPMU_ENCRYPTED_SECRET)."""


def make_credential(ek: PublicArea, name: bytes, secret: bytes, random: Callable[[int], bytes]) -> Credential:
    """A credential with `secret` for the object called `name` in the TPM of `ek`; `random(n)` gives n random bytes."""
    if ek.symmetric != _ACCEPTED_CIPHER:
        raise FormatError(STRUCTURE, "the endorsement key must protect with AES-128 in CFB mode")
    seed, encrypted_seed = _rsa_seed(ek.key, random) if isinstance(ek.key, RSAPublicKey) else _ecc_seed(ek.key, random)
    encrypted = _cipher(seed, name).encryptor().update(len(secret).to_bytes(2, "big") + secret)
    seal = _seal(seed, encrypted, name)
    return Credential(len(seal).to_bytes(2, "big") + seal + encrypted, encrypted_seed)


def open_credential(ek: ec.EllipticCurvePrivateKey, name: bytes, credential: Credential) -> bytes:
    """The secret, for a TPM that holds `ek` and the object called `name`; FormatError where it is for another."""
    reader = Reader(credential.encrypted_seed, "TPMS_ECC_POINT", "big")
    x, y = (int.from_bytes(reader.sized(axis, at_most=32), "big") for axis in ("x", "y"))
    reader.finish()
    try:
        ephemeral = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise FormatError("TPMS_ECC_POINT", f"the point must lie on P-256: {error}") from error
    seed = _kdfe(ek.exchange(ec.ECDH(), ephemeral), ephemeral, ek.public_key())
    reader = Reader(credential.id_object, STRUCTURE, "big")
    seal = reader.sized("the integrity value", at_most=64)
    encrypted = reader.take(reader.remaining, "the encrypted secret")
    if not hmac.compare_digest(seal, _seal(seed, encrypted, name)):
        raise FormatError(STRUCTURE, "the credential is not for this object of this TPM")
    inner = Reader(_cipher(seed, name).decryptor().update(encrypted), STRUCTURE, "big")
    secret = inner.sized("the secret", at_most=64)
    inner.finish()
    return secret


def _rsa_seed(ek: RSAPublicKey, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    seed = random(_SEED_BYTES)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), _LABEL)
    return seed, ek.encrypt(seed, oaep)


def _ecc_seed(ek: ec.EllipticCurvePublicKey, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    ephemeral = ec.derive_private_key(int.from_bytes(random(40), "big") % (P256_ORDER - 1) + 1, ec.SECP256R1())
    public = ephemeral.public_key()
    seed = _kdfe(ephemeral.exchange(ec.ECDH(), ek), public, ek)
    return seed, b"".join(bytes((0, 32)) + each for each in _coordinates(public))


def _kdfe(shared: bytes, ephemeral: ec.EllipticCurvePublicKey, static: ec.EllipticCurvePublicKey) -> bytes:
    """KDFe for 256 bits (TPM 2.0 Library, Part 1, "KDFe for ECDH"): one round of SHA-256."""
    parties = _coordinates(ephemeral)[0] + _coordinates(static)[0]
    return hashlib.sha256((1).to_bytes(4, "big") + shared + _LABEL + parties).digest()


def _kdfa(seed: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa for at most 256 bits (TPM 2.0 Library, Part 1, "KDFa()"): one round of HMAC-SHA-256."""
    message = (1).to_bytes(4, "big") + label + b"\0" + context + bits.to_bytes(4, "big")
    return hmac.digest(seed, message, "sha256")[: bits // 8]


def _cipher(seed: bytes, name: bytes) -> Cipher[CFB]:
    return Cipher(AES(_kdfa(seed, b"STORAGE", name, 128)), CFB(bytes(16)))


def _seal(seed: bytes, encrypted: bytes, name: bytes) -> bytes:
    return hmac.digest(_kdfa(seed, b"INTEGRITY", b"", 256), encrypted + name, "sha256")


def _coordinates(key: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
