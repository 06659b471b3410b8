"""The proxy between a user with a TCP of his own and a small internet, in time that only deadlines move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface
from itertools import count
from random import Random
from typing import Any

from scapy.layers.l2 import Ether

from vafw.provider.peer import Peer, Site
from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.appliance import INSIDE, OUTSIDE, Verdict
from vafw.traffic.frame import Frame, parse
from vafw.traffic.host.segment import Ends, segment_in
from vafw.traffic.host.stack import Stack
from vafw.traffic.host.tcp import Connection
from vafw.traffic.rule import TCP
from vafw_appliances.proxy.guest import Proxy, create
from vafw_appliances.proxy.network import address

USER_MAC = bytes.fromhex("525400aa0001")
PROXY_MAC = bytes.fromhex("02a1b2c3d4e5")
PROXY = "10.0.0.3"
PROXY6 = "2001:db8:a::3"
PORT = 3128
CONFIG: dict[str, Value] = {
    "mac": PROXY_MAC.hex(":"),
    "addresses": [f"{PROXY}/24", f"{PROXY6}/64"],
    "gateway": ["10.0.0.1", "2001:db8:a::1"],
    "resolvers": ["10.0.0.1", "2001:db8:a::1"],
    "port": PORT,
    "allow": [],
    "block": [],
    "clients": ["10.0.0.2/32", "2001:db8:a::2/128"],
}
SITE = Site()
World = Callable[[bytes], list[bytes]]
_PORTS = count(50_000)


def proxy(**config: Value) -> Proxy:
    """A proxy whose draws are the same each time."""
    made = create({**CONFIG, **config}, Random(7).randbytes)
    assert isinstance(made, Proxy)
    return made


def get(url: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """A request as a browser sends it to its proxy."""
    host = url.removeprefix("http://").partition("/")[0]
    return "\r\n".join([f"{method} {url} {version}", f"Host: {host}", *fields, "", ""]).encode()


def connect(authority: str) -> bytes:
    """The request for a tunnel."""
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


@dataclass
class Origin:
    """The small internet with one server whose TCP is whole: what it says, and what it has heard."""

    say: bytes = b""
    answers_at: int = 0
    """Bytes that it hears before it says anything."""
    closes: bool = True
    """Whether it closes when all is said."""
    heard: bytearray = field(default_factory=bytearray)
    connection: Connection | None = None
    said: int = 0

    def __call__(self, frame: bytes) -> list[bytes]:
        """Answer one frame."""
        packet = parse(frame)
        assert isinstance(packet, Frame)
        if packet.protocol != TCP:
            return Peer(SITE).handle(frame, 0.0)
        segment = segment_in(frame, packet)
        if self.connection is None:
            ends = Ends(4, packet.destination, packet.destination_port, packet.source, packet.source_port)
            self.connection = Connection.answered(ends, 4242, segment, 0.0)
        else:
            self.connection.receive(segment, 0.0)
        self._act(self.connection)
        sent = [build.answer(frame, packet, TCP, each) for each in self.connection.outbox]
        self.connection.outbox.clear()
        return sent

    def _act(self, connection: Connection) -> None:
        self.heard += connection.read()
        if len(self.heard) >= self.answers_at:
            self.said += connection.write(self.say[self.said :])
            if self.said == len(self.say) and self.closes and connection.is_open:
                connection.shut()
        connection.flush(0.0)


@dataclass
class Street:
    """User, proxy and world."""

    proxy: Proxy
    world: World | None = None
    addresses: tuple[str, ...] = ("10.0.0.2/24", "2001:db8:a::2/64")
    now_s: float = 0.0
    seen_outside: list[bytes] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    heard: dict[Connection, bytearray] = field(default_factory=dict)
    reads: bool = True
    """Whether the user reads what comes."""

    def __post_init__(self) -> None:
        self.user = Stack(USER_MAC, [ip_interface(each) for each in self.addresses], [])
        peer = Peer(SITE)
        self.world = self.world or (lambda frame: peer.handle(frame, 0.0))

    def open(self, to: str = PROXY, port: int = PORT) -> Connection:
        """A connection of the user's; nothing is sent before `run`."""
        host = ip_address(to)
        own = self.user.source_for(host)
        ends = Ends(host.version, int(own or 0), next(_PORTS), int(host), port)
        made = Connection.opened(ends, 77, self.now_s)
        self.connections.append(made)
        self.heard[made] = bytearray()
        return made

    def fetch(self, request: bytes, *, to: str = PROXY, close: bool = False) -> bytes:
        """Say something on a new connection; all that comes until nothing moves any more."""
        made = self.open(to)
        self.run(until=lambda: made.is_open or made.end is not None)
        made.write(request)
        if close:
            made.shut()
        self.run(until=lambda: made.peer_is_done or made.end is not None)
        made.shut()
        self.run()
        return bytes(self.heard[made])

    def say(self, connection: Connection, data: bytes) -> bytes:
        """Say something on a connection; all that has come on it when nothing moves without time."""
        self.settle()
        connection.write(data)
        self.settle()
        return bytes(self.heard[connection])

    def run(self, until: Callable[[], bool] = lambda: False, patience_s: float = 0.0) -> None:
        """Let everything happen that happens without time; then let time pass, no longer than has to be."""
        end_s = self.now_s + patience_s
        self.settle()
        while not until() and self.now_s < end_s:
            self.wait(0.2)

    def wait(self, seconds: float) -> None:
        """Let time pass in one step."""
        self.now_s += seconds
        for connection in self.connections:
            connection.advance(self.now_s)
        self._carry(list(self.proxy.on_timer(self.now_s)))
        self.settle()

    def settle(self) -> None:
        """Until nobody has anything to send."""
        while True:
            for connection in self.connections:
                self._read(connection)
                connection.flush(self.now_s)
                for segment in connection.outbox:
                    self.user.send(address(connection.ends.version, connection.ends.peer), TCP, segment)
                connection.outbox.clear()
            if not self.user.outbox:
                return
            frames, self.user.outbox = self.user.outbox, []
            for frame in frames:
                self.enter(INSIDE, frame)

    def enter(self, port: str, frame: bytes) -> Verdict:
        """A frame at the proxy's port, and what follows from it."""
        verdict = self.proxy.handle(port, frame, self.now_s)
        self.verdicts.append(verdict)
        self._carry(list(verdict.emit))
        return verdict

    def _carry(self, frames: list[tuple[str, bytes]]) -> None:
        for port, frame in frames:
            if port == OUTSIDE:
                self.seen_outside.append(frame)
                assert self.world is not None
                for answer in self.world(frame):
                    self.enter(OUTSIDE, answer)
            else:
                self._at_user(frame)

    def _at_user(self, frame: bytes) -> None:
        arrival = self.user.receive(frame)
        if arrival is None or arrival.packet.protocol != TCP:
            return
        packet = arrival.packet
        ends = Ends(packet.version, packet.destination, packet.destination_port, packet.source, packet.source_port)
        for connection in self.connections:
            if connection.ends == ends:
                connection.receive(segment_in(frame, packet), self.now_s)
                self._read(connection)

    def _read(self, connection: Connection) -> None:
        if self.reads:
            self.heard[connection] += connection.read()


OK = b"HTTP/1.0 200 OK\r\n"
GET = get("http://www.example.com/")


def page(said: bytes) -> str:
    """The last line of a page."""
    return said.decode().splitlines()[-1]


def latest(street: Street) -> list[tuple[str, str]]:
    report: Any = street.proxy.report()
    return [(each["verdict"], each["rule"]) for each in report["latest"]]


def sites(**names: str) -> Callable[[bytes], list[bytes]]:
    """A world in which names stand for these addresses."""
    found = {f"{name}.example.com": tuple(map(ip_address, text.split())) for name, text in names.items()}
    peer = Peer(Site(names=found))
    return lambda frame: peer.handle(frame, 0.0)


def without(world: Callable[[bytes], list[bytes]], *kinds: type[Any]) -> Callable[[bytes], list[bytes]]:
    """The world that is silent to packets with such a layer."""
    return lambda frame: [] if any(kind in Ether(frame) for kind in kinds) else world(frame)


def peer_world(frame: bytes) -> list[bytes]:
    return Peer().handle(frame, 0.0)
