"""One TCP connection from its opening to its end, as a client makes it (RFC 9293).

    SYN-SENT ──SYN ACK──▶ ESTABLISHED ──answer is there──▶ FIN-WAIT ──FIN ACK, or no patience left──▶ over
        │ RST or ICMP error: refused     │ RST: refused
        └ no answer: timed out           └ no answer: timed out

A segment that comes early is kept until those before it have come. No options but the maximum segment size, no window
scaling, no congestion control: what is sent is a request of a few segments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from vafw.traffic import build
from vafw.traffic.frame import ACK, FIN, PSH, RST, SYN
from vafw.traffic.quotation import quotation
from vafw.traffic.rule import ICMP, ICMPV6, TCP
from vafw_appliances.desktop.stack import Address, Arrival, Stack
from vafw_appliances.desktop.task import Outcome, Task, Wait

PATIENCE_S: Final = (1.0, 2.0, 4.0)
"""Seconds until the first, second and third silence; each but the last is answered by sending again (RFC 6298)."""
CLOSE_PATIENCE_S: Final = 1.0
SEGMENT_BYTES: Final = {4: 1460, 6: 1440}
"""Largest segment in an Ethernet frame, by IP version."""
WINDOW_BYTES: Final = 0xFFFF
"""What may be on its way to us: as much as the header's field can say, unscaled."""
EARLY_LIMIT: Final = 64
"""Segments kept that came early."""
RECEIVE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes after which an answer is long enough."""
UNREACHABLE: Final = {4: 3, 6: 1}
"""ICMP type "destination unreachable" by IP version."""


@final
class Connection:
    """A connection to one port of one host."""

    def __init__(self, stack: Stack, remote: Address, port: int, local_port: int, now_s: Callable[[], float]) -> None:
        self.received = bytearray()
        """What came, in order."""
        self._stack = stack
        self._remote = remote
        self._port = port
        self._local_port = local_port
        self._now_s = now_s
        self._next = local_port << 12
        """Sequence number of the next byte to send."""
        self._acknowledged = self._next
        self._expected = 0
        """Sequence number of the next byte to receive."""
        self._early: dict[int, tuple[bytes, bool]] = {}
        """Segments not in line yet, by sequence number: their data, and whether they end with a FIN."""
        self._unsent = b""
        self._peer_closed = False

    def run(self, request: bytes, expect: bytes) -> Task[Outcome]:
        """Open, send `request`, receive until `expect` has come or the peer closes, close."""
        outcome = yield from self._open()
        if outcome is not Outcome.OK:
            return outcome
        if request or expect:
            outcome = yield from self._exchange(request, expect)
        if outcome is not Outcome.REFUSED:
            yield from self._close()
        return outcome

    def _open(self) -> Task[Outcome]:
        segment_size = SEGMENT_BYTES[self._remote.version]
        for patience_s in PATIENCE_S:
            self._send(self._acknowledged, SYN, options=b"\x02\x04" + segment_size.to_bytes(2, "big"))
            arrival = yield Wait(self._now_s() + patience_s, self._opens)
            if arrival is None:
                continue
            if self._is_refusal(arrival):
                return Outcome.REFUSED
            self._next = self._acknowledged = arrival.packet.acknowledgement
            self._expected = arrival.packet.sequence + 1 & 0xFFFFFFFF
            self._send(self._next, ACK)
            return Outcome.OK
        return Outcome.TIMED_OUT

    def _exchange(self, request: bytes, expect: bytes) -> Task[Outcome]:
        self._unsent = request
        silences = 0
        self._send_again()
        until_s = self._now_s() + PATIENCE_S[0]
        while not self._is_enough(expect):
            arrival = yield Wait(until_s, self._is_mine)
            if arrival is None:
                silences += 1
                if silences == len(PATIENCE_S):
                    return Outcome.OK if self.received else Outcome.TIMED_OUT
                self._send_again()
                until_s = self._now_s() + PATIENCE_S[silences]
            elif self._is_refusal(arrival):
                return Outcome.REFUSED
            elif self._take(arrival):
                silences, until_s = 0, self._now_s() + PATIENCE_S[0]
        return Outcome.OK

    def _close(self) -> Task[None]:
        """Say that all is sent; wait, not for long, until the peer has heard it and says the same."""
        fin = self._next
        self._send(fin, FIN | ACK)
        self._next = fin + 1 & 0xFFFFFFFF
        until_s = self._now_s() + CLOSE_PATIENCE_S
        while not (self._peer_closed and self._acknowledged == self._next):
            arrival = yield Wait(until_s, self._is_mine)
            if arrival is None or self._is_refusal(arrival):
                return
            self._take(arrival)

    def _take(self, arrival: Arrival) -> bool:
        """Take a segment in; whether it moved anything on."""
        packet, data = arrival.packet, arrival.data
        moved = self._take_acknowledgement(packet.acknowledgement) if packet.flags & ACK else False
        if data or packet.flags & FIN:
            if abs(self._ahead(packet.sequence)) <= WINDOW_BYTES and len(self._early) < EARLY_LIMIT:
                self._early[packet.sequence] = (data, bool(packet.flags & FIN))
            moved = self._join() or moved
            self._send(self._next, ACK)
        return moved

    def _join(self) -> bool:
        """Move what stands in line to what is received; whether there was anything new."""
        moved = False
        for sequence in sorted(self._early, key=self._ahead):
            known = -self._ahead(sequence)
            if known < 0:
                break
            data, last = self._early.pop(sequence)
            if known <= len(data) and not self._peer_closed:
                self.received += data[known:]
                self._peer_closed = last
                self._expected = self._expected + len(data) - known + last & 0xFFFFFFFF
                moved = moved or known < len(data) or last
        return moved

    def _ahead(self, sequence: int) -> int:
        """How far `sequence` is ahead of what is received; less than zero where it is behind."""
        return (sequence - self._expected + 0x80000000 & 0xFFFFFFFF) - 0x80000000

    def _take_acknowledgement(self, number: int) -> bool:
        step = _distance(number, self._acknowledged)
        if not 0 < step <= _distance(self._next, self._acknowledged):
            return False
        self._acknowledged = number
        self._unsent = self._unsent[step:]
        return True

    def _send_again(self) -> None:
        """Send everything that is not acknowledged."""
        size = SEGMENT_BYTES[self._remote.version]
        at = self._acknowledged
        for start in range(0, len(self._unsent), size):
            data = self._unsent[start : start + size]
            self._send(at, ACK if start + size < len(self._unsent) else PSH | ACK, data)
            at = at + len(data) & 0xFFFFFFFF
        self._next = at

    def _send(self, sequence: int, flags: int, data: bytes = b"", options: bytes = b"") -> None:
        own = self._stack.source_for(self._remote)
        if own is None:
            return
        segment = build.tcp(
            int(own),
            int(self._remote),
            self._local_port,
            self._port,
            sequence=sequence,
            acknowledgement=self._expected if flags & ACK else 0,
            flags=flags,
            data=data,
            options=options,
        )
        self._stack.send(self._remote, TCP, segment)

    def _is_enough(self, expect: bytes) -> bool:
        return self._peer_closed or len(self.received) > RECEIVE_LIMIT or bool(expect and expect in self.received)

    def _opens(self, arrival: Arrival) -> bool:
        """An answer to our SYN, and to nothing older."""
        packet = arrival.packet
        if packet.protocol != TCP:
            return self._is_unreachable(arrival)
        answers = packet.flags & ACK and packet.acknowledgement == self._acknowledged + 1 & 0xFFFFFFFF
        return self._is_between_us(arrival) and bool(answers and packet.flags & (SYN | RST))

    def _is_mine(self, arrival: Arrival) -> bool:
        """A segment of this connection; a RST only where it stands in line (RFC 5961, section 3)."""
        packet = arrival.packet
        if packet.protocol != TCP:
            return self._is_unreachable(arrival)
        in_line = not packet.flags & RST or packet.sequence == self._expected
        return self._is_between_us(arrival) and in_line

    def _is_between_us(self, arrival: Arrival) -> bool:
        ports = (arrival.packet.source_port, arrival.packet.destination_port)
        return ports == (self._port, self._local_port) and arrival.source == self._remote

    def _is_refusal(self, arrival: Arrival) -> bool:
        return arrival.packet.protocol != TCP or bool(arrival.packet.flags & RST)

    def _is_unreachable(self, arrival: Arrival) -> bool:
        """An ICMP error that quotes a segment of this connection."""
        packet = arrival.packet
        if packet.protocol not in (ICMP, ICMPV6) or packet.icmp_type != UNREACHABLE[packet.version]:
            return False
        quoted = quotation(arrival.frame, packet)
        own = (TCP, int(self._remote), self._local_port, self._port)
        return quoted is not None and (quoted.protocol, quoted.destination, quoted.first, quoted.second) == own


def _distance(later: int, earlier: int) -> int:
    """How far one sequence number is ahead of another, modulo 2**32."""
    return later - earlier & 0xFFFFFFFF
