"""A session of WireGuard: transport messages under one pair of keys, each counter taken once.

Source: WireGuard, sections 5.4.6 and 6.1; the window is that of RFC 6479, kept as one integer. A counter is entered
only after its message has proven genuine, so that a forged one cannot move the window.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from vafw_appliances.vpn.noise import Keys

TRANSPORT: Final = 4
HEADER: Final = Struct("<B3xIQ")
TAG_BYTES: Final = 16
WINDOW: Final = 2048
"""Counters behind the greatest one that are still taken."""
PADDING: Final = 16
REKEY_AFTER_MESSAGES: Final = 1 << 60
REJECT_AFTER_MESSAGES: Final = (1 << 64) - (1 << 13) - 1
REKEY_AFTER_TIME_S: Final = 120.0
REJECT_AFTER_TIME_S: Final = 180.0


class ReplayWindow:
    """Which counters have been seen."""

    def __init__(self) -> None:
        self._greatest = -1
        self._seen = 0
        """Bit n: the counter n below the greatest."""

    def is_new(self, counter: int) -> bool:
        """Whether the counter was not seen and is not too old to tell."""
        behind = self._greatest - counter
        return counter < REJECT_AFTER_MESSAGES and (behind < 0 or (behind < WINDOW and not self._seen >> behind & 1))

    def enter(self, counter: int) -> None:
        """Note a counter that `is_new`."""
        ahead = counter - self._greatest
        if ahead > 0:
            kept = self._seen << ahead if ahead < WINDOW else 0
            self._seen, self._greatest = (kept | 1) & ((1 << WINDOW) - 1), counter
        else:
            self._seen |= 1 << -ahead


class Session:
    """Two keys, two counters, and how old they are."""

    def __init__(self, keys: Keys, born_s: float, *, initiator: bool) -> None:
        self.local = keys.local
        self.initiator = initiator
        """Whether we began the handshake; only this end begins the next one because of the session's age."""
        self.born_s = born_s
        self._remote = keys.remote
        self._sending = ChaCha20Poly1305(keys.sending)
        self._receiving = ChaCha20Poly1305(keys.receiving)
        self._counter = 0
        self._window = ReplayWindow()

    def is_usable(self, now_s: float) -> bool:
        """Whether it may still carry anything."""
        return now_s - self.born_s < REJECT_AFTER_TIME_S and self._counter < REJECT_AFTER_MESSAGES

    def wants_rekey(self, now_s: float) -> bool:
        """Whether its sender is to begin the next handshake."""
        return self._counter >= REKEY_AFTER_MESSAGES or (self.initiator and now_s - self.born_s >= REKEY_AFTER_TIME_S)

    def seal(self, packet: bytes) -> bytes:
        """A transport message with the packet, padded to 16 bytes; empty for a keepalive."""
        counter = self._counter
        self._counter += 1
        padded = packet + bytes(-len(packet) % PADDING)
        head = HEADER.pack(TRANSPORT, self._remote, counter)
        return head + self._sending.encrypt(_nonce(counter), padded, None)

    def open(self, message: bytes) -> bytes | None:
        """What a transport message carries, padding included; None where it is forged, cut or a repetition."""
        if len(message) < HEADER.size + TAG_BYTES or message[:4] != b"\x04\0\0\0":
            return None
        _, local, counter = HEADER.unpack_from(message)
        if local != self.local or not self._window.is_new(counter):
            return None
        try:
            plain = self._receiving.decrypt(_nonce(counter), message[HEADER.size :], None)
        except InvalidTag:
            return None
        self._window.enter(counter)
        return plain


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")
