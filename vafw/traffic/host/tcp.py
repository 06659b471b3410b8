"""One TCP connection, either end of it (RFC 9293): segments and the time come in, segments go out, bytes both ways.

    opened ──▶ SYN-SENT ──SYN ACK──▶ ESTABLISHED ──shut──▶ FIN-WAIT-1 ──ACK──▶ FIN-WAIT-2 ──FIN──▶ TIME-WAIT ─▶ CLOSED
                                      ▲    │ FIN               │ FIN                                  ▲
    answered ─▶ SYN-RECEIVED ──ACK────┘    ▼                   ▼                                      │
                                      CLOSE-WAIT ──shut──▶  CLOSING / LAST-ACK ──ACK──────────────────┘ or CLOSED

What is kept is bounded: one window of what nobody has read, one of what is not acknowledged. `room` and `unread` are
how an owner slows the other side down; a connection that is idle, or whose peer keeps its window closed, is its owner's
to abort. A RST counts only where it stands in line, and what else could come from somebody who guesses is challenged
(RFC 5961), not often. An ICMP error ends an opening only (RFC 5927). Left out: simultaneous opening, urgent data, and
every option but the maximum segment size.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final, Self, final

from vafw.traffic import build
from vafw.traffic.frame import ACK, FIN, PSH, RST, SYN
from vafw.traffic.host.inflow import WINDOW_BYTES, Inflow
from vafw.traffic.host.outflow import Outflow, Timeout
from vafw.traffic.host.segment import Ends, Segment
from vafw.traffic.host.sequence import after, ahead

SEGMENT_BYTES: Final = {4: 1460, 6: 1440}
"""Data of a segment that fits an Ethernet frame, by IP version."""
UNSAID_SEGMENT_BYTES: Final = {4: 536, 6: 1220}
"""What a peer takes that does not say (RFC 9293, section 3.7.1)."""
LEAST_SEGMENT_BYTES: Final = 536
"""A peer that asks for less would have us send crumbs; every host takes as much (RFC 1122, section 3.3.3)."""
HEADERS_BYTES: Final = {4: 40, 6: 60}
"""IP and TCP headers without options."""
TRIES: Final = 5
"""Silences after which a peer is taken for gone: 31 seconds, where nothing was measured."""
TIME_WAIT_S: Final = 4.0
"""How long a peer's FIN is answered again: two of its timeouts. Not twice the life of a segment: whoever is many has no
room for minutes, and draws its ports and sequence numbers so that an old segment fits nobody new."""
CHALLENGE_S: Final = 0.5
"""Seconds between two answers to segments that fit nowhere, so that two confused ends do not keep each other busy."""


class State(Enum):
    """RFC 9293, section 3.3.2; who only listens has no connection yet."""

    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"
    CLOSED = "CLOSED"


class End(StrEnum):
    """Why a connection is over."""

    CLOSED = "closed"
    """Both sides had said all."""
    REFUSED = "refused"
    """Nobody listens, or somebody on the way forbids it."""
    RESET = "reset"
    TIMED_OUT = "timed out"
    ABORTED = "aborted"
    """Its owner did not want it any more."""


_ON_SHUT: Final = {
    State.SYN_RECEIVED: State.FIN_WAIT_1,
    State.ESTABLISHED: State.FIN_WAIT_1,
    State.CLOSE_WAIT: State.LAST_ACK,
}
_ON_FIN: Final = {
    State.ESTABLISHED: State.CLOSE_WAIT,
    State.FIN_WAIT_1: State.CLOSING,
    State.FIN_WAIT_2: State.TIME_WAIT,
}
_ON_ALL_ACKNOWLEDGED: Final = {
    State.FIN_WAIT_1: State.FIN_WAIT_2,
    State.CLOSING: State.TIME_WAIT,
    State.LAST_ACK: State.CLOSED,
}
_OPENING: Final = (State.SYN_SENT, State.SYN_RECEIVED)


@final
class Connection:
    """One end of a connection. What it has to send gathers in `outbox`, TCP segments with their checksums."""

    def __init__(self, ends: Ends, first: int, *, tries: int = TRIES) -> None:
        """Use `opened` or `answered`; `first` is the initial sequence number, which nobody should be able to guess."""
        self.ends = ends
        self.state = State.SYN_SENT
        self.end: End | None = None
        """Why it is over; None while it is not."""
        self.outbox: list[bytes] = []
        self.received_bytes = 0
        self.sent_bytes = 0
        self._first = first
        self._tries = tries
        self._opening = Timeout()
        self._due_s: float | None = None
        self._segment_bytes = SEGMENT_BYTES[ends.version]
        self._in: Inflow | None = None
        self._out = Outflow(after(first, 1), self._segment_bytes, 0)
        self._challenged_s = -CHALLENGE_S

    @classmethod
    def opened(cls, ends: Ends, first: int, now_s: float, *, tries: int = TRIES) -> Self:
        """A connection that we open: a SYN is in its `outbox`."""
        made = cls(ends, first, tries=tries)
        made._send_opening(now_s)
        return made

    @classmethod
    def answered(cls, ends: Ends, first: int, syn: Segment, now_s: float, *, tries: int = TRIES) -> Self:
        """A connection that a peer opens with `syn`: the answer is in its `outbox`. Data of the SYN must come again."""
        made = cls(ends, first, tries=tries)
        made.state = State.SYN_RECEIVED
        made._begin(syn)
        made._send_opening(now_s)
        return made

    # -- what its owner sees ----------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether both sides have agreed, and it is not over."""
        return self.end is None and self.state not in _OPENING

    @property
    def is_settled(self) -> bool:
        """Whether it is over but for its peer's last words."""
        return self.end is not None or self.state is State.TIME_WAIT

    @property
    def unread(self) -> int:
        """Bytes that `read` would give."""
        return self._in.unread if self._in is not None else 0

    @property
    def peer_is_done(self) -> bool:
        """Whether the peer has said all, and all of it is read."""
        return self._in is not None and self._in.is_over and not self._in.unread

    @property
    def room(self) -> int:
        """Bytes that `write` would take; none before it is open."""
        return self._out.room if self.is_open else 0

    @property
    def waiting(self) -> int:
        """Bytes written that the peer has not acknowledged."""
        return self._out.waiting

    @property
    def expected(self) -> int:
        """The sequence number of the peer's next byte."""
        return self._in.next if self._in is not None else 0

    @property
    def deadline_s(self) -> float | None:
        """When `advance` wants to be called; None: it waits for its peer alone."""
        if self.end is not None:
            return None
        return self._due_s if self.state in _OPENING or self.state is State.TIME_WAIT else self._out.due_s

    def read(self, most: int = WINDOW_BYTES) -> bytes:
        """Up to `most` bytes that came; `flush` tells the peer of the room that this makes."""
        return self._in.read(most) if self._in is not None else b""

    def write(self, data: bytes) -> int:
        """Take as much of the data as there is room for; how much that was. `flush` sends it."""
        return self._out.write(data) if self.is_open else 0

    def shut(self) -> None:
        """Nothing more will be written; what was is still sent, and the peer may go on. `flush` says so."""
        if self.state in _ON_SHUT:
            self._out.shut()
            self.state = _ON_SHUT[self.state]

    def abort(self) -> None:
        """End it at once, with a RST to the peer, who sees that not all was said."""
        if self.end is None and self.state is not State.TIME_WAIT:
            if self.state is not State.SYN_SENT:
                self._emit(self._out.next, RST | ACK)
            self._over(End.ABORTED)
        else:
            self._over(self.end or End.CLOSED)

    def unreachable(self) -> None:
        """An ICMP error says that the peer cannot be reached."""
        if self.state is State.SYN_SENT:
            self._over(End.REFUSED)

    def too_large(self, packet_bytes: int, now_s: float) -> None:
        """An ICMP error says that only packets of that size get through (RFC 1191, RFC 8201)."""
        if self.is_open:
            self._out.limit_segments(max(packet_bytes - HEADERS_BYTES[self.ends.version], LEAST_SEGMENT_BYTES))
            self.flush(now_s)

    def flush(self, now_s: float) -> None:
        """Send what may be sent, and word of a window that has opened."""
        if not self.is_open or self.state is State.TIME_WAIT:
            return
        if not self._send_pieces(now_s) and self._in is not None and self._in.has_opened:
            self._acknowledge()

    def advance(self, now_s: float) -> None:
        """It is `now_s`: send again what has waited for long enough, or give up."""
        if self.deadline_s is None or self.deadline_s > now_s:
            return
        if self.state is State.TIME_WAIT:
            self._over(End.CLOSED)
            return
        timeout = self._opening if self.state in _OPENING else self._out.timeout
        if timeout.silences + 1 >= self._tries:
            if self.state is not State.SYN_SENT:
                self._emit(self._out.next, RST | ACK)
            self._over(End.TIMED_OUT)
        elif self.state in _OPENING:
            timeout.silences += 1
            self._send_opening(now_s)
        else:
            self._out.expired(now_s)
            self._send_pieces(now_s)

    def receive(self, segment: Segment, now_s: float) -> None:
        """Take a segment of this connection in."""
        if self.end is not None:
            return
        if self.state is State.SYN_SENT:
            self._take_answer(segment, now_s)
        elif self._in is not None:
            self._take(self._in, segment, now_s)

    # -- opening ----------------------------------------------------------------------------------------------

    def _begin(self, syn: Segment) -> None:
        version = self.ends.version
        said = UNSAID_SEGMENT_BYTES[version] if syn.segment_bytes is None else syn.segment_bytes
        self._segment_bytes = min(SEGMENT_BYTES[version], max(said, LEAST_SEGMENT_BYTES))
        self._in = Inflow(after(syn.sequence, 1), SEGMENT_BYTES[version])
        self._out = Outflow(after(self._first, 1), self._segment_bytes, syn.window)

    def _send_opening(self, now_s: float) -> None:
        self._emit_syn()
        self._due_s = now_s + self._opening.wait_s

    def _emit_syn(self) -> None:
        option = b"\x02\x04" + SEGMENT_BYTES[self.ends.version].to_bytes(2, "big")
        self._emit(self._first, SYN if self.state is State.SYN_SENT else SYN | ACK, options=option)

    def _take_answer(self, segment: Segment, now_s: float) -> None:
        """An answer to our SYN, and to nothing older."""
        if not segment.flags & ACK or segment.acknowledgement != after(self._first, 1):
            return
        if segment.flags & RST:
            self._over(End.REFUSED)
        elif segment.flags & SYN:
            self._begin(segment)
            self.state, self._due_s = State.ESTABLISHED, None
            self._acknowledge()
            self._send_pieces(now_s)

    # -- what comes -------------------------------------------------------------------------------------------

    def _take(self, inflow: Inflow, segment: Segment, now_s: float) -> None:
        """RFC 9293, section 3.10.7.4, in its order."""
        if not inflow.admits(segment.sequence, segment.length):
            if not segment.flags & RST:
                self._challenge(now_s, at_once=bool(segment.data))
            return
        if segment.flags & RST:
            if segment.sequence == inflow.next:
                self._over(End.REFUSED if self.state is State.SYN_RECEIVED else End.RESET)
            else:
                self._challenge(now_s)
            return
        if segment.flags & SYN or not segment.flags & ACK or not self._is_acceptable(segment.acknowledgement):
            self._challenge(now_s)
            return
        if self.state is State.SYN_RECEIVED:
            self.state, self._due_s = State.ESTABLISHED, None
        self._take_acknowledgement(segment, now_s)
        self._take_data(inflow, segment, now_s)

    def _is_acceptable(self, number: int) -> bool:
        """RFC 5961, section 5; of an answer to our SYN nothing but that."""
        if self.state is State.SYN_RECEIVED:
            return number == after(self._first, 1)
        behind = ahead(self._out.acknowledged, number)
        return ahead(number, self._out.sent) <= 0 and behind <= self._out.largest_window

    def _take_acknowledgement(self, segment: Segment, now_s: float) -> None:
        before = self._out.acknowledged
        self._out.acknowledges(segment.acknowledgement, segment.window, now_s, plain=not segment.length)
        self.sent_bytes += ahead(self._out.acknowledged, before)
        if self._out.is_over and self.state in _ON_ALL_ACKNOWLEDGED:
            self._enter(_ON_ALL_ACKNOWLEDGED[self.state], now_s)

    def _take_data(self, inflow: Inflow, segment: Segment, now_s: float) -> None:
        if segment.data or segment.flags & FIN:
            before = inflow.next
            inflow.take(segment.sequence, segment.data, last=bool(segment.flags & FIN))
            self.received_bytes += ahead(inflow.next, before)
            if inflow.is_over and self.state in _ON_FIN:
                self._enter(_ON_FIN[self.state], now_s)
            if self.end is None:
                self._acknowledge()
        if self.end is None and self.state is not State.TIME_WAIT:
            self._send_pieces(now_s)

    def _enter(self, state: State, now_s: float) -> None:
        if state is State.CLOSED:
            self._over(End.CLOSED)
            return
        self.state = state
        if state is State.TIME_WAIT:
            self._due_s = now_s + TIME_WAIT_S

    def _challenge(self, now_s: float, *, at_once: bool = False) -> None:
        """Say where this end stands."""
        if at_once or now_s - self._challenged_s >= CHALLENGE_S:
            self._challenged_s = now_s
            if self.state is State.SYN_RECEIVED:
                self._emit_syn()
            else:
                self._acknowledge()

    def _over(self, end: End) -> None:
        self.end, self.state = end, State.CLOSED

    # -- what goes --------------------------------------------------------------------------------------------

    def _send_pieces(self, now_s: float) -> bool:
        """Send what may be sent; whether that was anything."""
        sent = False
        for piece in self._out.pieces(now_s):
            flags = ACK | (PSH if piece.push else 0) | (FIN if piece.last else 0)
            self._emit(piece.sequence, flags, piece.data)
            sent = True
        return sent

    def _acknowledge(self) -> None:
        self._emit(self._out.next, ACK)

    def _emit(self, sequence: int, flags: int, data: bytes = b"", options: bytes = b"") -> None:
        inflow, ends = self._in, self.ends
        segment = build.tcp(
            ends.own,
            ends.peer,
            ends.own_port,
            ends.peer_port,
            sequence=sequence,
            acknowledgement=inflow.next if inflow is not None and flags & ACK else 0,
            flags=flags,
            window=WINDOW_BYTES if inflow is None else inflow.open_window(),
            data=data,
            options=options,
        )
        self.outbox.append(segment)
