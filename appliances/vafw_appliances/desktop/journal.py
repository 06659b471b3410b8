"""What a person at the machine would have noticed: names looked up, pages opened, refused, never answered.

It is read off the frames alone, so it holds for the machine's own stack as well as for a capture or a real machine
behind a tap. The hard part is to give each packet to the deed it belongs to: an ICMP error names it only by what it
quotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, final

from vafw.trace import Value
from vafw.traffic.frame import ACK, RST, SYN, Frame, Malformed, parse
from vafw.traffic.host import names
from vafw.traffic.host.stack import ECHO_REPLY, ECHO_REQUEST
from vafw.traffic.quotation import quotation
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP

KEPT: Final = 500
"""Entries remembered; the oldest go first."""
DNS: Final = 53
SERVICES: Final = {22: "ssh", 25: "mail", 53: "dns", 80: "web", 123: "time", 443: "web", 5353: "mdns"}
"""What a person calls the ports that desktops use most."""
KNOWN: Final = 4 * KEPT
"""Addresses whose names are remembered; the oldest go first."""
UNREACHABLE: Final = {4: 3, 6: 1}

Key: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class Entry:
    """One deed and what came of it."""

    kind: str
    """``name``, ``ping``, ``caller`` (somebody outside who got through), or the service's name."""
    subject: str
    """Whom it was for."""
    outcome: str = "no answer"
    good: bool | None = None
    """None as long as nothing answers."""
    count: int = 1
    """Packets or bytes that came back, as the outcome words it."""

    def conclude(self, outcome: str, good: bool) -> None:
        """Say what came of it."""
        self.outcome, self.good = outcome, good

    def to_json(self) -> dict[str, Value]:
        """The entry as one JSON object."""
        return {"kind": self.kind, "subject": self.subject, "outcome": self.outcome, "good": self.good}


@final
class Journal:
    """Everything noticed so far."""

    def __init__(self) -> None:
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0
        self._entries: dict[Key, Entry] = {}
        self._known: dict[tuple[int, int], str] = {}

    @property
    def entries(self) -> Sequence[Entry]:
        """The entries, oldest first."""
        return tuple(self._entries.values())

    def count(self, good: bool | None) -> int:
        """How many went well (True), did not (False), or were never answered (None)."""
        return sum(each.good is good for each in self._entries.values())

    def sent(self, frame: bytes) -> None:
        """Notice a frame that this machine sends."""
        self.frames_out += 1
        self.bytes_out += len(frame)
        packet = parse(frame)
        if isinstance(packet, Malformed) or not packet.version or packet.fragment_offset:
            return
        if packet.protocol == UDP and packet.destination_port == DNS:
            self._asked(names.read(frame[packet.payload : packet.end]))
        elif packet.protocol == UDP or (packet.protocol == TCP and packet.flags & (SYN | ACK) == SYN):
            port = packet.destination_port
            kind = SERVICES.get(port, "tcp" if packet.protocol == TCP else "udp")
            self._begin(_key(packet, outgoing=True), kind, self._host(packet, port))
        elif _is_echo(packet, ECHO_REQUEST):
            self._begin(_key(packet, outgoing=True), "ping", self._host(packet))

    def received(self, frame: bytes) -> None:
        """Notice a frame that reaches this machine."""
        self.frames_in += 1
        self.bytes_in += len(frame)
        packet = parse(frame)
        if isinstance(packet, Malformed) or not packet.version or packet.fragment_offset:
            return
        if packet.protocol == UDP and packet.source_port == DNS:
            self._answered(names.read(frame[packet.payload : packet.end]))
        elif packet.protocol == TCP:
            self._segment(packet)
        elif packet.protocol == UDP or _is_echo(packet, ECHO_REPLY):
            self._reply(packet)
        elif packet.protocol in (ICMP, ICMPV6) and packet.icmp_type == UNREACHABLE[packet.version]:
            self._error(frame, packet)

    def _begin(self, key: Key, kind: str, subject: str) -> None:
        if key in self._entries:
            return
        self._entries[key] = Entry(kind, subject)
        if len(self._entries) > KEPT:
            del self._entries[next(iter(self._entries))]

    def _host(self, packet: Frame, port: int = 0) -> str:
        address = _address(packet.version, packet.destination)
        name = self._known.get((packet.version, packet.destination))
        host = address if name is None else f"{name} over IPv6" if packet.version == 6 else name
        return f"{host} port {port}" if port and port not in SERVICES else host

    def _asked(self, message: names.Message | None) -> None:
        if message is not None and not message.is_response:
            self._begin(("name", message.name), "name", message.name or "(root)")

    def _answered(self, message: names.Message | None) -> None:
        entry = self._entries.get(("name", message.name)) if message is not None else None
        if message is None or entry is None or not message.is_response:
            return
        for each in message.addresses:
            self._known[each.version, int(each)] = message.name
            if len(self._known) > KNOWN:
                del self._known[next(iter(self._known))]
        if message.code == names.NAME_ERROR:
            entry.conclude("no such name", False)
        elif message.code != names.NO_ERROR:
            entry.conclude("resolver refuses", False)
        elif message.addresses and entry.good:
            entry.outcome = ", ".join(dict.fromkeys((*entry.outcome.split(", "), *map(str, message.addresses))))
        elif message.addresses or entry.good is None:
            entry.conclude(", ".join(map(str, message.addresses)) or "no address", bool(message.addresses))

    def _segment(self, packet: Frame) -> None:
        entry = self._entries.get(_key(packet, outgoing=False))
        if entry is None:
            if packet.flags & (SYN | ACK) == SYN:
                self._called(packet)
        elif packet.flags & RST and entry.good is None:
            entry.conclude("refused", False)
        elif packet.flags & SYN:
            entry.conclude("opened", True)
            entry.count = 0
        elif entry.good and packet.end > packet.payload:
            entry.count += packet.end - packet.payload
            entry.outcome = f"{entry.count:,} bytes"

    def _called(self, packet: Frame) -> None:
        """Somebody outside opens a connection to this machine."""
        caller = _address(packet.version, packet.source)
        self._begin(("caller", packet.version, packet.source), "caller", caller)
        self._entries["caller", packet.version, packet.source].conclude("got through to this machine", False)

    def _reply(self, packet: Frame) -> None:
        entry = self._entries.get(_key(packet, outgoing=False))
        if entry is not None:
            entry.conclude("answered" if entry.good is None else f"answered {entry.count} times", True)
            entry.count += 1

    def _error(self, frame: bytes, packet: Frame) -> None:
        entry = self._entries.get(_quoted_key(frame, packet))
        if entry is not None:
            entry.conclude("refused", False)


def _key(packet: Frame, *, outgoing: bool) -> Key:
    """The deed a packet belongs to: protocol, remote address, remote port, local port."""
    remote = packet.destination if outgoing else packet.source
    if packet.protocol in (ICMP, ICMPV6):
        return (packet.protocol, packet.version, remote, packet.icmp_id)
    ports = (packet.destination_port, packet.source_port)
    return (packet.protocol, packet.version, remote, *(ports if outgoing else reversed(ports)))


def _quoted_key(frame: bytes, error: Frame) -> Key:
    """The key of the packet that an ICMP error quotes; a key of nothing where too little of it is there."""
    quoted = quotation(frame, error)
    if quoted is None:
        return ()
    if quoted.protocol in (ICMP, ICMPV6):
        return (quoted.protocol, error.version, quoted.destination, quoted.first)
    return (quoted.protocol, error.version, quoted.destination, quoted.second, quoted.first)


def _is_echo(packet: Frame, types: dict[int, int]) -> bool:
    protocol = ICMP if packet.version == 4 else ICMPV6
    return packet.protocol == protocol and packet.icmp_type == types[packet.version]


def _address(version: int, address: int) -> str:
    return str((IPv4Address if version == 4 else IPv6Address)(address))
