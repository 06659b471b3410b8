"""A small IP stack over one Ethernet interface: neighbours, routes, echo, and sending; IPv4 and IPv6.

It answers ARP, neighbour solicitation and echo requests by itself, and hands what is left to its caller. It neither
forwards nor reassembles: a fragment is forgotten, and a frame with a VLAN tag is somebody else's. Frames to send gather
in `outbox`; nothing here waits or knows the time.

The hard part is what must be silent: no answer to what is malformed, has a wrong checksum or was sent to a group.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Final, TypeAlias, final

from vafw.traffic import build
from vafw.traffic.frame import ARP, IPV4, IPV6, Frame, Malformed, parse, transport_checksum_holds
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP

Address: TypeAlias = "IPv4Address | IPv6Address"
Interface: TypeAlias = "IPv4Interface | IPv6Interface"

ECHO_REQUEST: Final = {4: 8, 6: 128}
ECHO_REPLY: Final = {4: 0, 6: 129}
"""ICMP types of "echo" (RFC 792) and "echo reply" by IP version; RFC 4443 for version 6."""
NEIGHBOUR_SOLICITATION: Final = 135
NEIGHBOUR_ADVERTISEMENT: Final = 136
"""RFC 4861, section 4.3 and 4.4."""
TARGET_LINK_LAYER: Final = b"\x02\x01"
"""Option "target link-layer address", 8 bytes long (RFC 4861, section 4.6.1)."""
WAITING_LIMIT: Final = 8
"""Packets kept for a neighbour that has not answered; older ones are dropped."""
MOST_NEIGHBOURS: Final = 256
"""Neighbours known, and as many that are waited for: whoever forges sources on the link fills no more than this."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet for this host that the stack has no answer of its own to."""

    frame: bytes
    packet: Frame

    @property
    def source(self) -> Address:
        """Who sent it."""
        return (IPv4Address if self.packet.version == 4 else IPv6Address)(self.packet.source)

    @property
    def data(self) -> bytes:
        """What TCP or UDP carries; of ICMP, what stands behind its 8-byte header."""
        packet = self.packet
        start = packet.payload if packet.protocol in (TCP, UDP) else packet.transport + 8
        return self.frame[start : packet.end]


@final
class Stack:
    """One host."""

    def __init__(self, mac: bytes, addresses: Sequence[Interface], gateways: Sequence[Address]) -> None:
        """`mac` is 6 bytes; the first address of each family is the one packets are sent from."""
        self.mac = mac
        self.addresses = tuple(addresses)
        self.gateways = tuple(gateways)
        self.outbox: list[bytes] = []
        self._neighbours: OrderedDict[Address, bytes] = OrderedDict()
        self._waiting: OrderedDict[Address, deque[bytes]] = OrderedDict()

    def receive(self, frame: bytes) -> Arrival | None:
        """Take one frame in; what it leads to is in `outbox`, what a program may wait for is returned."""
        packet = parse(frame)
        if isinstance(packet, Malformed) or packet.vlans or not self._is_addressed(frame):
            return None
        if packet.ethertype == ARP:
            self._arp(frame, packet)
            return None
        if not packet.version or packet.is_fragment or not transport_checksum_holds(frame, packet):
            return None
        if packet.protocol == ICMPV6 and packet.icmp_type in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
            self._neighbour_discovery(frame, packet)
            return None
        if not self._is_mine(packet.version, packet.destination):
            return None
        if _is_echo_request(packet):
            self.outbox.append(build.echo_reply(frame, packet))
            return None
        return Arrival(frame, packet)

    def refuse(self, arrival: Arrival) -> None:
        """Say that nobody waits for this: a RST to a TCP segment; all else is met with silence."""
        if (reset := build.reset(arrival.frame, arrival.packet)) is not None:
            self.outbox.append(reset)

    def source_for(self, destination: Address) -> Address | None:
        """The address that packets to `destination` are sent from; None where no way leads there."""
        own = next((each.ip for each in self.addresses if each.version == destination.version), None)
        return own if own is not None and self._next_hop(destination) is not None else None

    def send(self, destination: Address, protocol: int, payload: bytes, source: Address | None = None) -> None:
        """Send a packet, after asking for the next hop's MAC address where that is not known yet.

        `source` is the address of ours that it is sent from, where not `source_for` chooses it.
        """
        source, hop = source or self.source_for(destination), self._next_hop(destination)
        if source is None or hop is None:
            return
        header = build.ipv4 if destination.version == 4 else build.ipv6
        packet = header(int(source), int(destination), protocol, payload)
        if (mac := self._neighbours.get(hop)) is not None:
            self._to_neighbour(mac, hop, packet)
            return
        self._waiting.setdefault(hop, deque(maxlen=WAITING_LIMIT)).append(packet)
        if len(self._waiting) > MOST_NEIGHBOURS:
            self._waiting.popitem(last=False)
        ask = build.arp_request if hop.version == 4 else build.neighbour_solicitation
        self.outbox.append(ask(self.mac, int(source), int(hop)))

    def _next_hop(self, destination: Address) -> Address | None:
        if any(destination in each.network for each in self.addresses):
            return destination
        return next((each for each in self.gateways if each.version == destination.version), None)

    def _to_neighbour(self, mac: bytes, hop: Address, packet: bytes) -> None:
        self.outbox.append(build.ethernet(mac, self.mac, IPV4 if hop.version == 4 else IPV6, packet))

    def _learn(self, address: Address, mac: bytes) -> None:
        """Only what was asked for, or is known already, is believed."""
        if mac[0] & 1 or (address not in self._waiting and address not in self._neighbours):
            return
        self._neighbours[address] = mac
        if len(self._neighbours) > MOST_NEIGHBOURS:
            self._neighbours.popitem(last=False)
        for packet in self._waiting.pop(address, ()):
            self._to_neighbour(mac, address, packet)

    def _arp(self, frame: bytes, packet: Frame) -> None:
        body = frame[packet.network : packet.network + 28]
        operation, sender_mac = int.from_bytes(body[6:8], "big"), body[8:14]
        self._learn(IPv4Address(body[14:18]), sender_mac)
        if operation == 1 and self._is_mine(4, int.from_bytes(body[24:28], "big")):
            self.outbox.append(build.arp_reply(frame, packet, self.mac))

    def _neighbour_discovery(self, frame: bytes, packet: Frame) -> None:
        """RFC 4861, section 7.1: a hop limit below 255 gives away that it came through a router."""
        message = frame[packet.transport : packet.end]
        if packet.hop_limit != 255 or len(message) < 24:
            return
        target = int.from_bytes(message[8:24], "big")
        if packet.icmp_type == NEIGHBOUR_ADVERTISEMENT:
            if message[24:26] == TARGET_LINK_LAYER and len(message) >= 32:
                self._learn(IPv6Address(target), message[26:32])
        elif packet.source and self._is_mine(6, target):
            self.outbox.append(build.neighbour_advertisement(frame, packet, self.mac))

    def _is_addressed(self, frame: bytes) -> bool:
        return frame[:6] == self.mac or bool(frame[0] & 1)

    def _is_mine(self, version: int, address: int) -> bool:
        return any(each.version == version and int(each.ip) == address for each in self.addresses)


def _is_echo_request(packet: Frame) -> bool:
    protocol = ICMP if packet.version == 4 else ICMPV6
    return packet.protocol == protocol and packet.icmp_type == ECHO_REQUEST[packet.version]
