r"""The traffic script: what the user does by itself, one step after another, and what came of each.

    {"resolve": "www.example.com"}
    {"connect": "www.example.com", "port": 80, "send": "GET / HTTP/1.0\r\n\r\n", "expect": "200 OK"}
    {"ping": "198.51.100.10"}

Each step is a generator that yields what it waits for and until when, and is resumed with the packet, or with None when
the time has come. So a step reads from top to bottom, and a lost packet is a None at the place where it can be lost.

Ports, sequence numbers and query ids are counted, not drawn: a modelled guest has no source of randomness, and two runs
of one script give the same frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final, TypeAlias, final

from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.host import names
from vafw.traffic.host.stack import ECHO_REPLY, ECHO_REQUEST, Address, Arrival, Stack
from vafw.traffic.rule import ICMP, ICMPV6, UDP
from vafw_appliances.desktop.connection import Connection
from vafw_appliances.desktop.task import Outcome, Task, Wait

RESOLVE_TRIES_S: Final = (2.0, 4.0)
"""Seconds each query is waited for; a third is not sent."""
PING_TRIES_S: Final = (1.0, 1.0, 1.0)
FIRST_PORT: Final = 49_152
"""IANA's first dynamic port; each step takes the next."""
PING_DATA: Final = bytes(range(0x10, 0x40))


Result: TypeAlias = "dict[str, Value]"


@final
class Script:
    """A script on its way, over one stack."""

    def __init__(self, stack: Stack, resolvers: Sequence[Address], steps: Sequence[Value]) -> None:
        """ValueError where a step is none."""
        self.results: list[Value] = []
        self._stack = stack
        self._resolver = resolvers[0] if resolvers else None
        self._steps = [_checked(each) for each in steps]
        self._now_s = 0.0
        self._number = 0
        self._task: Task[Result] | None = None
        self._wait: Wait | None = None
        self._began_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether every step has its result."""
        return len(self.results) == len(self._steps)

    @property
    def deadline_s(self) -> float | None:
        """When `advance` wants to be called again; None where all is over."""
        if self.is_over:
            return None
        return self._wait.until_s if self._wait is not None else self._now_s

    def advance(self, now_s: float) -> None:
        """Begin, or go on with what has waited long enough."""
        self._now_s = now_s
        while (due := self.deadline_s) is not None and due <= now_s:
            self._resume(None)

    def deliver(self, arrival: Arrival, now_s: float) -> bool:
        """Hand over a packet; False where nobody waits for it."""
        self._now_s = now_s
        if self._wait is None or not self._wait.wants(arrival):
            return False
        self._resume(arrival)
        self.advance(now_s)
        return True

    def _resume(self, arrival: Arrival | None) -> None:
        if self._task is None:
            self._task, self._began_s = self._step(self._steps[len(self.results)]), self._now_s
        try:
            self._wait = self._task.send(arrival)
        except StopIteration as over:
            step = self._steps[len(self.results)]
            took = round(self._now_s - self._began_s, 6)
            self.results.append({**step, **over.value, "seconds": took})
            self._task = self._wait = None

    def _step(self, step: Mapping[str, Value]) -> Task[Result]:
        if "resolve" in step:
            return self._resolve_step(str(step["resolve"]))
        if "ping" in step:
            return self._ping_step(str(step["ping"]))
        return self._connect_step(step)

    def _resolve_step(self, name: str) -> Task[Result]:
        outcome, addresses = yield from self._resolve(name)
        return {"outcome": outcome.value, "addresses": [str(each) for each in addresses]}

    def _connect_step(self, step: Mapping[str, Value]) -> Task[Result]:
        outcome, address = yield from self._address_of(str(step["connect"]))
        if address is None:
            return {"outcome": outcome.value, "bytes": 0}
        port, expect = int(str(step["port"])), str(step.get("expect", ""))
        connection = Connection(self._stack, address, port, self._next_port(), lambda: self._now_s)
        outcome = yield from connection.run(str(step.get("send", "")).encode(), expect.encode())
        if outcome is Outcome.OK and expect.encode() not in connection.received:
            outcome = Outcome.UNEXPECTED
        return {"outcome": outcome.value, "address": str(address), "bytes": len(connection.received)}

    def _ping_step(self, host: str) -> Task[Result]:
        outcome, address = yield from self._address_of(host)
        if address is None:
            return {"outcome": outcome.value}
        number = self._next_port()
        for sequence, patience_s in enumerate(PING_TRIES_S, 1):
            self._send_echo(address, number, sequence)
            arrival = yield Wait(self._now_s + patience_s, lambda it: _is_echo(it, address, number))
            if arrival is not None:
                return {"outcome": Outcome.OK.value, "address": str(address)}
        return {"outcome": Outcome.TIMED_OUT.value, "address": str(address)}

    def _address_of(self, host: str) -> Task[tuple[Outcome, Address | None]]:
        try:
            address: Address = ip_address(host)
        except ValueError:
            outcome, addresses = yield from self._resolve(host)
            if not addresses:
                return outcome if outcome is not Outcome.OK else Outcome.NXDOMAIN, None
            address = next((each for each in addresses if self._stack.source_for(each)), addresses[0])
        if self._stack.source_for(address) is None:
            return Outcome.NO_ROUTE, None
        return Outcome.OK, address

    def _resolve(self, name: str) -> Task[tuple[Outcome, tuple[Address, ...]]]:
        """IPv4 addresses first, then IPv6; the first answer that is no answer ends it."""
        if self._resolver is None or self._stack.source_for(self._resolver) is None:
            return Outcome.NO_ROUTE, ()
        found: tuple[Address, ...] = ()
        for kind in (names.A, names.AAAA):
            outcome, addresses = yield from self._ask(self._resolver, name, kind)
            if outcome is not Outcome.OK:
                return outcome, ()
            found += addresses
        return Outcome.OK, found

    def _ask(self, resolver: Address, name: str, kind: int) -> Task[tuple[Outcome, tuple[Address, ...]]]:
        port = self._next_port()
        query = names.question(port, name, kind)
        wanted = name.rstrip(".").lower()
        for patience_s in RESOLVE_TRIES_S:
            self._send_datagram(resolver, port, 53, query)
            arrival = yield Wait(self._now_s + patience_s, lambda it: _is_answer(it, resolver, port, wanted, kind))
            answer = names.read(arrival.data) if arrival is not None else None
            if answer is not None:
                return _outcome(answer.code), answer.addresses
        return Outcome.TIMED_OUT, ()

    def _send_datagram(self, to: Address, source_port: int, port: int, data: bytes) -> None:
        if (own := self._stack.source_for(to)) is not None:
            self._stack.send(to, UDP, build.udp(int(own), int(to), source_port, port, data))

    def _send_echo(self, to: Address, number: int, sequence: int) -> None:
        own = self._stack.source_for(to)
        body = number.to_bytes(2, "big") + sequence.to_bytes(2, "big") + PING_DATA
        if own is None:
            return
        if to.version == 4:
            self._stack.send(to, ICMP, build.icmp(ECHO_REQUEST[4], 0, body))
        else:
            message = build.icmpv6(int(own), int(to), ECHO_REQUEST[6], 0, body)
            self._stack.send(to, ICMPV6, message)

    def _next_port(self) -> int:
        self._number += 1
        return FIRST_PORT + self._number % (65_536 - FIRST_PORT)


def _checked(step: Value) -> dict[str, Value]:
    if not isinstance(step, dict) or len({"resolve", "connect", "ping"} & step.keys()) != 1:
        raise ValueError(f"a step of the script must have one of resolve, connect and ping, not {step!r}")
    host = str(step.get("resolve", step.get("connect", step.get("ping"))))
    names.question(0, host, names.A)  # refuses what is no name; an address passes for one
    if "connect" in step and not (str(step.get("port", "")).isdigit() and 0 < int(str(step["port"])) < 65_536):
        raise ValueError(f"a connect step must have a port from 1 to 65535, not {step.get('port')!r}")
    return step


def _outcome(code: int) -> Outcome:
    if code == names.NO_ERROR:
        return Outcome.OK
    return Outcome.NXDOMAIN if code == names.NAME_ERROR else Outcome.REFUSED


def _is_answer(arrival: Arrival, resolver: Address, port: int, name: str, kind: int) -> bool:
    """What RFC 5452, section 9.1, has a resolver compare."""
    packet = arrival.packet
    if (packet.protocol, packet.source_port, packet.destination_port) != (UDP, 53, port):
        return False
    answer = names.read(arrival.data) if arrival.source == resolver else None
    return answer is not None and answer.is_response and (answer.number, answer.name, answer.kind) == (port, name, kind)


def _is_echo(arrival: Arrival, host: Address, number: int) -> bool:
    packet = arrival.packet
    protocol = ICMP if packet.version == 4 else ICMPV6
    return (
        packet.protocol == protocol
        and packet.icmp_type == ECHO_REPLY[packet.version]
        and packet.icmp_id == number
        and arrival.source == host
    )
