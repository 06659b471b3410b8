"""A TCP connection as a step of the script uses it: open, say something, listen, close, and say what came of it.

The protocol is `vafw.traffic.host.tcp`'s. What is this module's own is patience: how long an answer is worth waiting
for, and that whoever has waited in vain still closes properly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from vafw.traffic.host.icmp_error import IcmpError, icmp_error
from vafw.traffic.host.segment import Ends, segment_in
from vafw.traffic.host.stack import Address, Arrival, Stack
from vafw.traffic.host.tcp import Connection as Tcp
from vafw.traffic.host.tcp import End
from vafw.traffic.rule import TCP
from vafw_appliances.desktop.task import Outcome, Task, Wait

TRIES: Final = 3
"""Silences, after 1, 2 and 4 seconds, until nobody is there."""
PATIENCE_S: Final = 7.0
"""Seconds without anything new until no answer is to come: as long as `TRIES` silences take."""
CLOSE_PATIENCE_S: Final = 1.0
RECEIVE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes after which an answer is long enough."""


@final
class Connection:
    """A connection to one port of one host."""

    def __init__(self, stack: Stack, remote: Address, port: int, local_port: int, now_s: Callable[[], float]) -> None:
        self.received = bytearray()
        """What came, in order."""
        self._stack = stack
        self._remote = remote
        self._now_s = now_s
        own = stack.source_for(remote)
        self._ends = Ends(remote.version, 0 if own is None else int(own), local_port, int(remote), port)
        self._tcp = Tcp.opened(self._ends, local_port << 12, now_s(), tries=TRIES)

    def run(self, request: bytes, expect: bytes) -> Task[Outcome]:
        """Open, send `request`, receive until `expect` has come or the peer closes, close."""
        while not self._tcp.is_open:
            if self._tcp.end is not None:
                return self._outcome()
            yield from self._step(None)
        answered = True
        if request or expect:
            answered = yield from self._exchange(request, expect)
        outcome = self._outcome() if answered else Outcome.TIMED_OUT
        if self._tcp.end is None:
            yield from self._close()
        return outcome

    def _exchange(self, request: bytes, expect: bytes) -> Task[bool]:
        """Say it all and listen; whether there was an answer."""
        until_s = self._now_s() + PATIENCE_S
        while not self._is_enough(expect) and self._now_s() < until_s:
            request = request[self._tcp.write(request) :]
            self._tcp.flush(self._now_s())
            moved = yield from self._step(until_s)
            if moved:
                until_s = self._now_s() + PATIENCE_S
        return bool(self.received) or self._tcp.peer_is_done or self._tcp.end is End.RESET

    def _close(self) -> Task[None]:
        """Say that all is sent; wait, not for long, until the peer has heard it and says the same."""
        self._tcp.shut()
        self._tcp.flush(self._now_s())
        until_s = self._now_s() + CLOSE_PATIENCE_S
        while not self._tcp.is_settled and self._now_s() < until_s:
            yield from self._step(until_s)
        self._send()

    def _step(self, until_s: float | None) -> Task[bool]:
        """Send, wait for a segment or the time, take it; whether that moved anything on."""
        self._send()
        before = self._tcp.waiting, self._tcp.received_bytes
        due_s = [each for each in (self._tcp.deadline_s, until_s) if each is not None]
        arrival = yield Wait(min(due_s), self._is_mine)
        if arrival is None:
            self._tcp.advance(self._now_s())
        elif arrival.packet.protocol == TCP:
            self._tcp.receive(segment_in(arrival.frame, arrival.packet), self._now_s())
        elif (error := icmp_error(arrival)) is not None:
            self._take_error(error)
        self.received += self._tcp.read()
        self._tcp.flush(self._now_s())
        self._send()
        return before != (self._tcp.waiting, self._tcp.received_bytes)

    def _take_error(self, error: IcmpError) -> None:
        if error.packet_bytes is None:
            self._tcp.unreachable()
        else:
            self._tcp.too_large(error.packet_bytes, self._now_s())

    def _send(self) -> None:
        for segment in self._tcp.outbox:
            self._stack.send(self._remote, TCP, segment)
        self._tcp.outbox.clear()

    def _outcome(self) -> Outcome:
        match self._tcp.end:
            case End.REFUSED | End.RESET:
                return Outcome.REFUSED
            case End.TIMED_OUT if not self.received:
                return Outcome.TIMED_OUT
            case _:
                return Outcome.OK

    def _is_enough(self, expect: bytes) -> bool:
        found = bool(expect) and expect in self.received
        return self._tcp.end is not None or self._tcp.peer_is_done or len(self.received) > RECEIVE_LIMIT or found

    def _is_mine(self, arrival: Arrival) -> bool:
        """A segment of this connection, or an ICMP error about it."""
        packet = arrival.packet
        if packet.protocol != TCP:
            error = icmp_error(arrival)
            return error is not None and error.ends == self._ends
        ends = Ends(packet.version, packet.destination, packet.destination_port, packet.source, packet.source_port)
        return ends == self._ends
