"""Public areas of TPM keys, and their names: how a quote says who signed it, and what a TPM promises of a key.

TPM 2.0 Library, Part 2, "TPMT_PUBLIC" and Part 1, "Names"; big-endian. Decoding is strict and says only what the bytes
claim. That a TPM holds the key, and enforces the attributes, is what credential activation proves
(`vafw.attest.enrolment`); before that, nothing that a public area says is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from vafw.tcg.algorithms import SHA256, digest
from vafw.wire import Reader

PublicKey: TypeAlias = "EllipticCurvePublicKey | RSAPublicKey"

STRUCTURE: Final = "TPMT_PUBLIC"
ENDORSEMENT_HIERARCHY: Final = 0x4000000B
"""TPM_RH_ENDORSEMENT: quotes of its keys carry the real counts, those of the owner hierarchy obfuscated ones."""
RSA: Final = 0x0001
ECC: Final = 0x0023
NULL: Final = 0x0010
AES: Final = 0x0006
CFB: Final = 0x0043
NIST_P256: Final = 0x0003
_ECDSA: Final = 0x0018
_HASHED_SCHEMES: Final = (0x0014, 0x0016, 0x0017, 0x0018)
"""RSASSA, RSAPSS, OAEP, ECDSA: schemes that name a hash and nothing else."""
_DEFAULT_EXPONENT: Final = 65537
_MOST_MODULUS_BYTES: Final = 512

FIXED_TPM: Final = 1 << 1
FIXED_PARENT: Final = 1 << 4
SENSITIVE_DATA_ORIGIN: Final = 1 << 5
USER_WITH_AUTH: Final = 1 << 6
ADMIN_WITH_POLICY: Final = 1 << 7
RESTRICTED: Final = 1 << 16
DECRYPT: Final = 1 << 17
SIGN: Final = 1 << 18
ATTRIBUTE_NAMES: Final = {
    FIXED_TPM: "fixedTPM",
    1 << 2: "stClear",
    FIXED_PARENT: "fixedParent",
    SENSITIVE_DATA_ORIGIN: "sensitiveDataOrigin",
    USER_WITH_AUTH: "userWithAuth",
    ADMIN_WITH_POLICY: "adminWithPolicy",
    1 << 10: "noDA",
    1 << 11: "encryptedDuplication",
    RESTRICTED: "restricted",
    DECRYPT: "decrypt",
    SIGN: "sign",
}
"""TPMA_OBJECT, by bit."""
NEVER_LEAVES: Final = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN
"""Made inside this TPM, and never outside it."""
ATTESTATION_KEY: Final = NEVER_LEAVES | USER_WITH_AUTH | RESTRICTED | SIGN
ENDORSEMENT_KEY: Final = NEVER_LEAVES | ADMIN_WITH_POLICY | RESTRICTED | DECRYPT
ENDORSEMENT_POLICY: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
"""PolicySecret of the endorsement hierarchy (TCG EK Credential Profile, "PolicyA")."""


@final
@dataclass(frozen=True, slots=True)
class PublicArea:
    """What a TPM says of one asymmetric key."""

    kind: int
    """RSA or ECC."""
    name_algorithm: int
    attributes: int
    policy: bytes
    symmetric: tuple[int, int, int] | None
    """Algorithm, bits of the key and mode of the cipher that a storage key protects with; None for NULL."""
    scheme: tuple[int, int] | None
    """Signature scheme and hash; None for NULL."""
    key: PublicKey
    encoded: bytes
    """The bytes that the name is made of."""

    @classmethod
    def decode(cls, data: bytes) -> PublicArea:
        """Read an RSA or P-256 key; FormatError names the byte that is wrong."""
        reader = Reader(data, STRUCTURE, "big")
        kind = reader.u16("the type of key")
        if kind not in (RSA, ECC):
            raise reader.error(f"the type of key must be RSA ({RSA:#x}) or ECC ({ECC:#x}), not {kind:#x}", at=0)
        if (name_algorithm := reader.u16("the name algorithm")) != SHA256:
            raise reader.error(f"the name algorithm must be SHA-256, not {name_algorithm:#x}", at=2)
        attributes = reader.u32("the attributes")
        policy = reader.sized("the policy", at_most=64)
        symmetric, scheme = _symmetric(reader), _scheme(reader)
        key: PublicKey = _rsa(reader) if kind == RSA else _ecc(reader)
        reader.finish()
        return cls(kind, name_algorithm, attributes, policy, symmetric, scheme, key, data)

    @property
    def name(self) -> bytes:
        """The name of the object: its name algorithm, and the digest of its public area."""
        return name_of(self.encoded)

    def lacks(self, wanted: int) -> tuple[str, ...]:
        """Names of the attributes among `wanted` that are not set."""
        return tuple(name for bit, name in ATTRIBUTE_NAMES.items() if wanted & bit and not self.attributes & bit)


def attestation_key_area(x: int, y: int) -> bytes:
    """TPMT_PUBLIC of a restricted P-256 signing key that never leaves its TPM; zeros make it a template."""
    scheme = (NULL, _ECDSA, SHA256, NIST_P256, NULL)  # no symmetric cipher; ECDSA with SHA-256; curve; no KDF
    return _area(ECC, ATTESTATION_KEY, b"", scheme) + _point(x, y)


def endorsement_key_area(x: int, y: int) -> bytes:
    """TPMT_PUBLIC of a P-256 endorsement key; zeros make it template L-2 (TCG EK Credential Profile)."""
    scheme = (AES, 128, CFB, NULL, NIST_P256, NULL)
    return _area(ECC, ENDORSEMENT_KEY, ENDORSEMENT_POLICY, scheme) + _point(x, y)


def rsa_endorsement_key_area(modulus: int) -> bytes:
    """TPMT_PUBLIC of an RSA-2048 endorsement key; zero makes it template L-1 (TCG EK Credential Profile)."""
    scheme = (AES, 128, CFB, NULL, 2048)
    return _area(RSA, ENDORSEMENT_KEY, ENDORSEMENT_POLICY, scheme) + bytes(4) + _sized(modulus.to_bytes(256, "big"))


def default_endorsement_area(key: PublicKey) -> bytes:
    """The one public area that the default templates give an endorsement key; empty for a key of another size."""
    if isinstance(key, EllipticCurvePublicKey):
        point = key.public_numbers()
        return endorsement_key_area(point.x, point.y)
    return rsa_endorsement_key_area(key.public_numbers().n) if key.key_size == 2048 else b""


def name_of(public_area: bytes) -> bytes:
    """The name of an object: its name algorithm, and the digest of its public area."""
    return SHA256.to_bytes(2, "big") + digest(SHA256, public_area)


def qualified_name(hierarchy: int, name: bytes) -> bytes:
    """The qualified name of a primary object: bound to the hierarchy that it was made under."""
    return SHA256.to_bytes(2, "big") + digest(SHA256, hierarchy.to_bytes(4, "big"), name)


def _area(kind: int, attributes: int, policy: bytes, numbers: tuple[int, ...]) -> bytes:
    head = kind.to_bytes(2, "big") + SHA256.to_bytes(2, "big") + attributes.to_bytes(4, "big") + _sized(policy)
    return head + b"".join(each.to_bytes(2, "big") for each in numbers)


def _symmetric(reader: Reader) -> tuple[int, int, int] | None:
    algorithm = reader.u16("the symmetric cipher")
    return None if algorithm == NULL else (algorithm, reader.u16("the bits of its key"), reader.u16("its mode"))


def _scheme(reader: Reader) -> tuple[int, int] | None:
    start = reader.offset
    scheme = reader.u16("the scheme")
    if scheme == NULL:
        return None
    if scheme not in _HASHED_SCHEMES:
        raise reader.error(f"the scheme must be RSASSA, RSAPSS, OAEP, ECDSA or none, not {scheme:#x}", at=start)
    return scheme, reader.u16("the hash of the scheme")


def _rsa(reader: Reader) -> RSAPublicKey:
    start = reader.offset
    bits, exponent = reader.u16("the bits of the key"), reader.u32("the exponent") or _DEFAULT_EXPONENT
    modulus = reader.sized("the modulus", at_most=_MOST_MODULUS_BYTES)
    if len(modulus) * 8 != bits or bits < 2048:
        raise reader.error(f"the modulus must have {max(bits, 2048)} bits, not {len(modulus) * 8}", at=start)
    try:
        return RSAPublicNumbers(exponent, int.from_bytes(modulus, "big")).public_key()
    except ValueError as error:
        raise reader.error(f"the key must be an RSA key: {error}", at=start) from error


def _ecc(reader: Reader) -> EllipticCurvePublicKey:
    start = reader.offset
    if (curve := reader.u16("the curve")) != NIST_P256:
        raise reader.error(f"the curve must be P-256 ({NIST_P256:#x}), not {curve:#x}", at=start)
    if (kdf := reader.u16("the key derivation")) != NULL:
        raise reader.error(f"the key derivation must be none ({NULL:#x}), not {kdf:#x}", at=start + 2)
    x, y = (int.from_bytes(reader.sized(name, at_most=32), "big") for name in ("x", "y"))
    try:
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    except ValueError as error:
        raise reader.error(f"the point must lie on P-256: {error}", at=start) from error


def _point(x: int, y: int) -> bytes:
    return b"".join(_sized(each.to_bytes(32, "big")) for each in (x, y))


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content
