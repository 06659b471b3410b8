"""The handshake of WireGuard: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s in two messages, for both ends.

    initiator                                     responder
    Initiation.begin ──── 148 bytes ────▶ accept_initiation
    Initiation.finish ◀──── 92 bytes ──── Accepted.answer
    both now have the two keys of a session, one for each direction

Source: J. A. Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", section 5.4. Pure: randomness and time come
in as arguments. What another end has sent is answered with None where it does not hold, never with an exception. Not
here: cookies (section 5.4.7); `mac2` is zero and a cookie reply means nothing to us. Transport is `session.py`'s.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import blake2s
from struct import Struct
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CONSTRUCTION: Final = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER: Final = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1: Final = b"mac1----"
INITIATION: Final = 1
RESPONSE: Final = 2
KEY_BYTES: Final = 32
NO_PSK: Final = bytes(KEY_BYTES)
MAC_BYTES: Final = 16
TAI64_EPOCH: Final = 1 << 62
"""What a TAI64 label of second 0 is."""

_INITIATION: Final = Struct("<B3xI32s48s28s")
_RESPONSE: Final = Struct("<B3xII32s16s")
INITIATION_BYTES: Final = _INITIATION.size + 2 * MAC_BYTES
RESPONSE_BYTES: Final = _RESPONSE.size + 2 * MAC_BYTES


@dataclass(frozen=True, slots=True)
class Keys:
    """What a handshake leaves behind."""

    local: int
    """The index that the other end names in what it sends."""
    remote: int
    """The index that we name."""
    sending: bytes
    receiving: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """One end's static keys and the other's public one."""

    private: bytes
    peer: bytes
    """The other end's public key."""
    psk: bytes = NO_PSK

    @property
    def public(self) -> bytes:
        """The public key that belongs to `private`."""
        return public_key(self.private)


@dataclass(frozen=True, slots=True)
class Initiation:
    """A handshake that we have begun."""

    identity: Identity
    local: int
    ephemeral: bytes
    chain: bytes
    hash: bytes
    message: bytes

    @classmethod
    def begin(cls, identity: Identity, local: int, ephemeral: bytes, timestamp: bytes) -> Self:
        """The first message; `ephemeral` is 32 random bytes, `timestamp` 12 bytes of TAI64N, later than any before.

        ValueError where the peer's public key is one with which no secret can be shared.
        """
        chain, hash_ = _start(identity.peer)
        own = public_key(ephemeral)
        chain, hash_ = _kdf(chain, own, 1)[0], _digest(hash_ + own)
        chain, key = _kdf(chain, _shared(ephemeral, identity.peer), 2)
        static = _seal(key, identity.public, hash_)
        hash_ = _digest(hash_ + static)
        chain, key = _kdf(chain, _shared(identity.private, identity.peer), 2)
        stamp = _seal(key, timestamp, hash_)
        hash_ = _digest(hash_ + stamp)
        message = with_macs(_INITIATION.pack(INITIATION, local, own, static, stamp), identity.peer)
        return cls(identity, local, ephemeral, chain, hash_, message)

    def finish(self, message: bytes) -> Keys | None:
        """The session's keys from the answer; None where it is none to this handshake."""
        if len(message) != RESPONSE_BYTES or not macs_hold(message, self.identity.public):
            return None
        kind, remote, local, theirs, empty = _RESPONSE.unpack_from(message)
        if message[1:4] != bytes(3) or (kind, local) != (RESPONSE, self.local):
            return None
        chain, hash_ = _kdf(self.chain, theirs, 1)[0], _digest(self.hash + theirs)
        try:
            chain = _kdf(chain, _shared(self.ephemeral, theirs), 1)[0]
            chain = _kdf(chain, _shared(self.identity.private, theirs), 1)[0]
        except ValueError:
            return None
        chain, temporary, key = _kdf(chain, self.identity.psk, 3)
        if _open(key, empty, _digest(hash_ + temporary)) is None:
            return None
        sending, receiving = _kdf(chain, b"", 2)
        return Keys(self.local, remote, sending, receiving)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A handshake that another end has begun, and proven to be the peer."""

    identity: Identity
    remote: int
    ephemeral: bytes
    chain: bytes
    hash: bytes
    timestamp: bytes

    def answer(self, local: int, ephemeral: bytes) -> tuple[bytes, Keys] | None:
        """The second message and the session's keys; None where no secret can be shared with what was sent."""
        own = public_key(ephemeral)
        chain, hash_ = _kdf(self.chain, own, 1)[0], _digest(self.hash + own)
        try:
            chain = _kdf(chain, _shared(ephemeral, self.ephemeral), 1)[0]
            chain = _kdf(chain, _shared(ephemeral, self.identity.peer), 1)[0]
        except ValueError:
            return None
        chain, temporary, key = _kdf(chain, self.identity.psk, 3)
        empty = _seal(key, b"", _digest(hash_ + temporary))
        receiving, sending = _kdf(chain, b"", 2)
        message = with_macs(_RESPONSE.pack(RESPONSE, local, self.remote, own, empty), self.identity.peer)
        return message, Keys(local, self.remote, sending, receiving)


def accept_initiation(identity: Identity, message: bytes) -> Accepted | None:
    """Read a first message; None where it is none, or not from the identity's peer."""
    if len(message) != INITIATION_BYTES or not macs_hold(message, identity.public):
        return None
    kind, remote, theirs, static, stamp = _INITIATION.unpack_from(message)
    if message[1:4] != bytes(3) or kind != INITIATION:
        return None
    chain, hash_ = _start(identity.public)
    chain, hash_ = _kdf(chain, theirs, 1)[0], _digest(hash_ + theirs)
    try:
        chain, key = _kdf(chain, _shared(identity.private, theirs), 2)
        if _open(key, static, hash_) != identity.peer:
            return None
        hash_ = _digest(hash_ + static)
        chain, key = _kdf(chain, _shared(identity.private, identity.peer), 2)
    except ValueError:
        return None
    timestamp = _open(key, stamp, hash_)
    if timestamp is None:
        return None
    return Accepted(identity, remote, theirs, chain, _digest(hash_ + stamp), timestamp)


def public_key(private: bytes) -> bytes:
    """The Curve25519 public key of 32 private bytes."""
    public = X25519PrivateKey.from_private_bytes(private).public_key()
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def tai64n(seconds: float) -> bytes:
    """The 12 bytes of TAI64N for that many seconds since the epoch."""
    whole, nanoseconds = divmod(int(seconds * 1e9), 1_000_000_000)
    return (TAI64_EPOCH + whole).to_bytes(8, "big") + nanoseconds.to_bytes(4, "big")


def with_macs(message: bytes, receiver: bytes) -> bytes:
    """The message with `mac1` for the receiver's public key, and a `mac2` of zeros."""
    return message + _mac1(message, receiver) + bytes(MAC_BYTES)


def macs_hold(message: bytes, receiver: bytes) -> bool:
    """Whether `mac1` is made for the receiver."""
    body, mac1 = message[: -2 * MAC_BYTES], message[-2 * MAC_BYTES : -MAC_BYTES]
    return hmac.compare_digest(_mac1(body, receiver), mac1)


def _mac1(body: bytes, receiver: bytes) -> bytes:
    return blake2s(body, key=_digest(LABEL_MAC1 + receiver), digest_size=MAC_BYTES).digest()


def _start(responder: bytes) -> tuple[bytes, bytes]:
    chain = _digest(CONSTRUCTION)
    return chain, _digest(_digest(chain + IDENTIFIER) + responder)


def _digest(data: bytes) -> bytes:
    return blake2s(data).digest()


def _kdf(key: bytes, data: bytes, count: int) -> tuple[bytes, ...]:
    """HKDF with HMAC-BLAKE2s: `count` keys of 32 bytes."""
    secret = hmac.digest(key, data, "blake2s")
    made: list[bytes] = []
    for number in range(1, count + 1):
        made.append(hmac.digest(secret, (made[-1] if made else b"") + bytes([number]), "blake2s"))
    return tuple(made)


def _shared(private: bytes, public: bytes) -> bytes:
    """The secret of two keys; ValueError where it is zero, which a point of low order forces."""
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def _seal(key: bytes, plain: bytes, associated: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, associated)


def _open(key: bytes, sealed: bytes, associated: bytes) -> bytes | None:
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), sealed, associated)
    except InvalidTag:
        return None
