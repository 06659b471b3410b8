"""SSHSIG: what ``ssh-keygen -Y sign`` writes (OpenSSH, PROTOCOL.sshsig, version 1), for Ed25519 keys and no others.

    armor(  "SSHSIG", version 1, public key, namespace, reserved, hash algorithm, signature  )
    signed: "SSHSIG", namespace, reserved, hash algorithm, H(message)

One signature has one text: armor, line breaks and padding are compared with what ssh-keygen would have written, the
reserved field must be empty, and nothing may follow. So no byte of a signature can be altered without a refusal. Whose
key it is, and whether that is enough, is asked elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vafw.errors import Refused
from vafw.openssh.public_key import ALGORITHM, NoPublicKey, PublicKey, string, take_string

MAXIMUM_CHARACTERS: Final = 2000
"""An Ed25519 signature has about 300."""
_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_WIDTH: Final = 70
"""Characters of base64 in a line, as ssh-keygen breaks them."""
_HASHES: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"sha512": lambda data: hashlib.sha512(data).digest(),
    b"sha256": lambda data: hashlib.sha256(data).digest(),
}
_SIGNATURE_BYTES: Final = 64


class SignatureRefused(Refused):
    """A text that is no SSHSIG signature of the message in the namespace."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature taken apart; whether it is right is `verify`'s to say."""

    key: PublicKey
    namespace: bytes
    hash_name: bytes
    raw: bytes
    """64 bytes (RFC 8032)."""

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read a signature with its armor; SignatureRefused for anything else."""
        fields = _dearmored(text)
        if fields[: len(_MAGIC)] != _MAGIC:
            _refuse("it does not begin with SSHSIG")
        try:
            (version,) = struct.unpack_from(">I", fields, len(_MAGIC))
            key, rest = take_string(fields[len(_MAGIC) + 4 :])
            namespace, rest = take_string(rest)
            reserved, rest = take_string(rest)
            hash_name, rest = take_string(rest)
            signature, rest = take_string(rest)
            algorithm, after = take_string(signature)
            raw, last = take_string(after)
        except (struct.error, ValueError):
            _refuse("it is cut off")
        if version != _VERSION:
            _refuse(f"its version is {version}")
        if reserved or rest or last:
            _refuse("it has something where nothing may be")
        if algorithm != ALGORITHM.encode() or len(raw) != _SIGNATURE_BYTES:
            _refuse(f"it is not by an {ALGORITHM} key")
        if hash_name not in _HASHES:
            _refuse(f"its hash must be sha512 or sha256, not {ascii(hash_name[:20])[1:]}")
        try:
            return cls(PublicKey.of_blob(key), namespace, hash_name, raw)
        except NoPublicKey as error:
            raise SignatureRefused(_sentence(str(error))) from error

    def verify(self, message: bytes, namespace: str) -> None:
        """Return where it is right for `message` in `namespace`; SignatureRefused where not."""
        if self.namespace != namespace.encode():
            _refuse(f"its namespace must be {namespace}, not {ascii(self.namespace[:40])[1:]}")
        try:
            key = Ed25519PublicKey.from_public_bytes(self.key.raw)
            key.verify(self.raw, _signed(message, self.namespace, self.hash_name))
        except (ValueError, InvalidSignature) as error:
            raise SignatureRefused(
                f"a signature must be of what is to be signed, and that by {self.key.fingerprint} is not"
            ) from error

    def __str__(self) -> str:
        fields = b"".join(
            (
                _MAGIC,
                struct.pack(">I", _VERSION),
                string(self.key.blob),
                string(self.namespace),
                string(b""),
                string(self.hash_name),
                string(string(ALGORITHM.encode()) + string(self.raw)),
            )
        )
        return _armored(fields)


def sign(message: bytes, namespace: str, key: Ed25519PrivateKey) -> Signature:
    """What ``ssh-keygen -Y sign -n NAMESPACE`` makes of the same message and key."""
    name, hash_name = namespace.encode(), b"sha512"
    raw = key.sign(_signed(message, name, hash_name))
    return Signature(PublicKey(key.public_key().public_bytes_raw()), name, hash_name, raw)


def _signed(message: bytes, namespace: bytes, hash_name: bytes) -> bytes:
    """What the Ed25519 signature is over."""
    return _MAGIC + string(namespace) + string(b"") + string(hash_name) + string(_HASHES[hash_name](message))


def _armored(fields: bytes) -> str:
    text = base64.b64encode(fields).decode()
    lines = (text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH))
    return "\n".join((_BEGIN, *lines, _END, ""))


def _dearmored(text: str) -> bytes:
    lines = text.split("\n")
    if len(text) > MAXIMUM_CHARACTERS or len(lines) < 4 or (lines[0], lines[-2], lines[-1]) != (_BEGIN, _END, ""):
        _refuse("it does not stand between BEGIN and END")
    try:
        fields = base64.b64decode("".join(lines[1:-2]), validate=True)
    except ValueError:
        _refuse("it is no base64")
    if _armored(fields) != text:
        _refuse("it is not written as ssh-keygen writes it")
    return fields


def _sentence(what: str) -> str:
    return f"a signature must be an SSHSIG by an {ALGORITHM} key, as ssh-keygen -Y sign writes it: {what}"


def _refuse(what: str) -> NoReturn:
    raise SignatureRefused(_sentence(what))
