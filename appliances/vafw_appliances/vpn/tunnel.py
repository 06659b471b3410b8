"""A tunnel to one peer: which handshake and which sessions there are, and what time asks for.

    send ─▶ session usable? ── yes ─▶ sealed
                  └─ no ─▶ kept, one packet at most, and a handshake begun

    next ──first genuine message──▶ current ──replaced──▶ previous          (a responder's session begins as `next`)

Source: WireGuard, section 6. Pure: datagrams, packets and the time come in, datagrams and packets go out. Whatever the
other end sends, nothing here raises. Not here: whom a datagram came from, and which packets belong into the tunnel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from vafw_appliances.vpn.noise import Identity, Initiation, accept_initiation, tai64n
from vafw_appliances.vpn.session import Session

REKEY_TIMEOUT_S: Final = 5.0
REKEY_ATTEMPT_TIME_S: Final = 90.0
KEEPALIVE_TIMEOUT_S: Final = 10.0
LEAST_BETWEEN_INITIATIONS_S: Final = 0.02
"""Handshakes of the other end that come faster are not worked on."""

_STEP_S: Final = 1e-3
"""By how much a stamp grows at least, though the clock was set back."""

Random: TypeAlias = Callable[[int], bytes]


class Tunnel:
    """One peer's."""

    def __init__(self, identity: Identity, random: Random, keepalive_s: float | None = None) -> None:
        """`random` gives that many bytes nobody can guess; ValueError where the peer's key shares no secret."""
        self.clock_offset_s: float | None = 0.0
        """What makes the time that comes in the one that handshakes are stamped with; None: no handshake is begun."""
        self._stamped_s = 0.0
        Initiation.begin(identity, 0, random(32), tai64n(0))
        self.handshakes = 0
        """Handshakes that led to a session."""
        self.refused = 0
        """Datagrams that were none of ours."""
        self._identity = identity
        self._random = random
        self._keepalive_s = keepalive_s
        self._begun: Initiation | None = None
        self._begun_s = -REKEY_TIMEOUT_S
        self._wanted_s: float | None = None
        """Since when a handshake is wanted; None: it is not."""
        self._accepted_s = -LEAST_BETWEEN_INITIATIONS_S
        self._greatest_timestamp = b""
        self._next: Session | None = None
        self._current: Session | None = None
        self._previous: Session | None = None
        self._waiting: bytes | None = None
        self._sent_s = self._heard_s = 0.0
        self._owes_s: float | None = None
        """Since when the other end has had no sign of life in return for its data."""
        self._unanswered_s: float | None = None
        """Since when our data has had no answer."""

    def is_up(self, now_s: float) -> bool:
        """Whether a packet would be carried now."""
        return self._current is not None and self._current.is_usable(now_s)

    def start(self, now_s: float) -> Iterator[bytes]:
        """Datagrams to send first: with a persistent keepalive the tunnel is brought up unasked."""
        if self._keepalive_s is not None:
            yield from self._want(now_s)

    def send(self, packet: bytes, now_s: float) -> Iterator[bytes]:
        """Datagrams that carry the packet, or that first ask for a session while it waits."""
        session = self._current
        if session is None or not session.is_usable(now_s):
            self._waiting = packet
            yield from self._want(now_s)
            return
        self._unanswered_s = now_s if self._unanswered_s is None else self._unanswered_s
        yield self._sealed(session, packet, now_s)
        if session.wants_rekey(now_s):
            yield from self._want(now_s)

    def receive(self, datagram: bytes, now_s: float) -> tuple[bytes | None, tuple[bytes, ...]]:
        """The packet in a datagram, padding included, empty for a keepalive, None where there is none; and answers."""
        kind = datagram[0] if datagram else 0
        if kind == 1:
            return None, tuple(self._initiated(datagram, now_s))
        if kind == 2:
            return None, tuple(self._answered(datagram, now_s))
        return self._carried(datagram, now_s)

    def on_timer(self, now_s: float) -> Iterator[bytes]:
        """Datagrams that are due."""
        self._forget(now_s)
        if self._unanswered_s is not None and now_s - self._unanswered_s >= KEEPALIVE_TIMEOUT_S + REKEY_TIMEOUT_S:
            self._unanswered_s = None
            yield from self._want(now_s)
        if self._wanted_s is not None:
            if now_s - self._wanted_s >= REKEY_ATTEMPT_TIME_S:
                self._wanted_s = self._begun = self._waiting = None
            else:
                yield from self._begin(now_s)
        owed = self._owes_s is not None and now_s - self._owes_s >= KEEPALIVE_TIMEOUT_S
        idle = self._keepalive_s is not None and now_s - max(self._sent_s, self._heard_s) >= self._keepalive_s
        if owed or idle:
            if self._current is not None and self._current.is_usable(now_s):
                yield self._sealed(self._current, b"", now_s)
            elif self._keepalive_s is not None and self._wanted_s is None:
                yield from self._want(now_s)

    # -- handshakes -------------------------------------------------------------------------------------------

    def _want(self, now_s: float) -> Iterator[bytes]:
        if self._wanted_s is None:
            self._wanted_s = now_s
        yield from self._begin(now_s)

    def _begin(self, now_s: float) -> Iterator[bytes]:
        """A new initiation, unless one was sent just now, or nobody knows the time that it must be stamped with."""
        if now_s - self._begun_s < REKEY_TIMEOUT_S or self.clock_offset_s is None:
            return
        self._stamped_s = max(now_s + self.clock_offset_s, self._stamped_s + _STEP_S)
        self._begun = Initiation.begin(self._identity, self._index(), self._random(32), tai64n(self._stamped_s))
        self._begun_s = self._sent_s = now_s
        yield self._begun.message

    def _initiated(self, datagram: bytes, now_s: float) -> Iterator[bytes]:
        """The other end begins: answer, and wait for it to use the session before we do."""
        accepted = None
        if now_s - self._accepted_s >= LEAST_BETWEEN_INITIATIONS_S:
            accepted = accept_initiation(self._identity, datagram)
        if accepted is None or accepted.timestamp <= self._greatest_timestamp:
            self.refused += 1
            return
        answer = accepted.answer(self._index(), self._random(32))
        if answer is None:
            self.refused += 1
            return
        self._greatest_timestamp, self._accepted_s = accepted.timestamp, now_s
        message, keys = answer
        self._next = Session(keys, now_s, initiator=False)
        self._sent_s = now_s
        yield message

    def _answered(self, datagram: bytes, now_s: float) -> Iterator[bytes]:
        keys = self._begun.finish(datagram) if self._begun is not None else None
        if keys is None:
            self.refused += 1
            return
        self._begun = None
        self._next = None
        self._heard_s = now_s
        session = Session(keys, now_s, initiator=True)
        self._take_up(session)
        waiting, self._waiting = self._waiting, None
        yield self._sealed(session, waiting or b"", now_s)  # confirms the keys to the responder, in any case

    def _take_up(self, session: Session) -> None:
        self._previous, self._current = self._current, session
        self._wanted_s = self._unanswered_s = None
        self.handshakes += 1

    def _index(self) -> int:
        taken = {each.local for each in (self._next, self._current, self._previous) if each is not None}
        while (index := int.from_bytes(self._random(4), "little")) in taken:
            pass
        return index

    # -- transport --------------------------------------------------------------------------------------------

    def _carried(self, datagram: bytes, now_s: float) -> tuple[bytes | None, tuple[bytes, ...]]:
        for session in (self._current, self._next, self._previous):
            plain = session.open(datagram) if session is not None and session.is_usable(now_s) else None
            if session is not None and plain is not None:
                return plain, tuple(self._heard(session, plain, now_s))
        self.refused += 1
        return None, ()

    def _heard(self, session: Session, plain: bytes, now_s: float) -> Iterator[bytes]:
        self._heard_s = now_s
        self._unanswered_s = None
        if session is self._next:
            self._next = None
            self._take_up(session)
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                yield self._sealed(session, waiting, now_s)
        if plain and self._owes_s is None:
            self._owes_s = now_s

    def _sealed(self, session: Session, packet: bytes, now_s: float) -> bytes:
        self._sent_s, self._owes_s = now_s, None
        return session.seal(packet)

    def _forget(self, now_s: float) -> None:
        """Keys that may carry nothing any more are gone."""
        self._current, self._previous, self._next = (
            each if each is not None and each.is_usable(now_s) else None
            for each in (self._current, self._previous, self._next)
        )
