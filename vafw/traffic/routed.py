"""What a firewall needs besides its rules to be a router between two sides: addresses, neighbours, and a next hop.

The smallest router that can hide a network: one link inside, and one outside or several (`uplinks`), each with the
firewall's own addresses, a gateway outside for each family and none inside. What comes in on one side can only leave
by the other. It answers ARP and neighbour solicitation for its own addresses and echo requests from the inside, and
nothing else; it decrements the hop limit and says so where that ends a packet. Pure as every appliance: frames and the
time come in, frames go out.

    frame ─▶ to my MAC? ─▶ ARP, ND: answer or learn ─▶ hop limit ─▶ `Engine.decide` ─▶ next hop ─▶ neighbour known? send
                                                                                        └─ ask, and keep it meanwhile

A transparent firewall was preferred for as long as it could be: this one can be seen, and is used only where addresses
must be translated. Fragments are translated one by one, never put together.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Final, TypeAlias

from vafw.trace import Value
from vafw.traffic import build, config
from vafw.traffic.appliance import INSIDE, OUTSIDE, uplink_port
from vafw.traffic.frame import ARP, Frame
from vafw.traffic.nat import OwnAddresses
from vafw.traffic.packet import ICMP, ICMPV6

Host: TypeAlias = tuple[int, int]
"""IP version and address."""
Interface: TypeAlias = "IPv4Interface | IPv6Interface"

SOLICITATION: Final = 135
ADVERTISEMENT: Final = 136
ECHO: Final = {4: (ICMP, 8), 6: (ICMPV6, 128)}
LONGEST_QUEUE: Final = 16
"""Frames kept for a neighbour that has not answered; the oldest are dropped."""
MOST_NEIGHBOURS: Final = 1024
ASK_AGAIN_S: Final = 1.0
STALE_S: Final = 300.0
"""Seconds after which a neighbour is asked again."""


@dataclass(frozen=True, slots=True)
class Link:
    """One side of the router."""

    mac: bytes
    addresses: tuple[Interface, ...]
    gateways: tuple[Host, ...] = ()
    """Next hops for what is not on the link."""
    marks: frozenset[int] = frozenset()
    """Marks of connections that leave by it rather than by another."""

    @classmethod
    def from_config(cls, value: Value, where: str) -> Link:
        """Read ``{"mac", "addresses", "gateway", "marks"}``; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {"mac", "addresses", "gateway", "marks"})
        mac = bytes.fromhex(config.text(entry.get("mac"), f"{where}.mac").replace(":", ""))
        if len(mac) != 6 or mac[0] & 1:
            raise ValueError(f"{where}.mac must be the MAC address of one card, not {entry.get('mac')!r}")
        addresses = config.texts(entry.get("addresses", []), f"{where}.addresses")
        gateways = map(ip_address, config.texts(entry.get("gateway", []), f"{where}.gateway"))
        marks = config.sequence(entry.get("marks", []), f"{where}.marks")
        return cls(
            mac,
            tuple(map(ip_interface, addresses)),
            tuple((each.version, int(each)) for each in gateways),
            frozenset(config.integer(each, f"{where}.marks", 1, 0xFFFFFFFF) for each in marks),
        )

    def own(self) -> frozenset[Host]:
        """Its own addresses."""
        return frozenset((each.version, int(each)) for each in self.addresses)

    def holds(self, host: Host) -> bool:
        """Whether a network of the link has the host."""
        return any(_holds(each, host) for each in self.addresses)

    def next_hop(self, host: Host) -> Host | None:
        """Whom to send to: the host itself on the link, else the gateway of its family; None: nobody."""
        if self.holds(host):
            return host
        return next((each for each in self.gateways if each[0] == host[0]), None)

    def source(self, version: int) -> int | None:
        """The address it speaks with."""
        return next((int(each) for each in self.addresses if each.version == version), None)


def _holds(interface: Interface, host: Host) -> bool:
    version, address = host
    network = interface.network
    return network.version == version and int(network.network_address) <= address <= int(network.broadcast_address)


@dataclass(frozen=True, slots=True)
class Links:
    """Both sides of the router."""

    outside: Link
    inside: Link
    further: tuple[Link, ...] = ()
    """Uplinks besides the one outside."""

    @classmethod
    def from_config(cls, value: Value, where: str = "router") -> Links:
        """Read ``{"outside": ..., "inside": ..., "uplinks": [...]}``; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {OUTSIDE, INSIDE, "uplinks"})
        further = config.sequence(entry.get("uplinks", []), f"{where}.uplinks")
        return cls(
            Link.from_config(entry.get(OUTSIDE), f"{where}.outside"),
            Link.from_config(entry.get(INSIDE), f"{where}.inside"),
            tuple(Link.from_config(each, f"{where}.uplinks[{at}]") for at, each in enumerate(further)),
        )

    @property
    def uplinks(self) -> tuple[Link, ...]:
        """Every link outside, the path's own first."""
        return (self.outside, *self.further)

    def by_port(self) -> dict[str, Link]:
        """Every link by the port that it is at."""
        return {INSIDE: self.inside, **{uplink_port(at): each for at, each in enumerate(self.uplinks)}}

    def own_addresses(self) -> OwnAddresses:
        """What the engine has to know of them."""
        outer, *further = (
            {version: own for version in (4, 6) if (own := each.source(version)) is not None} for each in self.uplinks
        )
        return OwnAddresses(outer, self.inside.own().union(*(each.own() for each in self.uplinks)), tuple(further))

    def side_of(self, host: Host) -> str:
        """The side on which a host is to be found: inside where a link there holds it."""
        return INSIDE if self.inside.holds(host) else OUTSIDE

    def is_broadcast(self, host: Host) -> bool:
        """Whether it is all hosts of a network of one side (RFC 919); a router that forwards to it is an amplifier."""
        interfaces = (each for link in (self.inside, *self.uplinks) for each in link.addresses)
        ends = (each for each in interfaces if each.version == 4 and each.network.num_addresses > 2)
        return any((4, int(each.network.broadcast_address)) == host for each in ends)

    def may_come_from(self, host: Host, port: str) -> bool:
        """Whether packets of the host may come in there: by the link that holds it, or by any uplink if none does."""
        held = next((at for at, link in self.by_port().items() if link.holds(host)), None)
        return port == held if held is not None else port != INSIDE


@dataclass(slots=True)
class _Neighbour:
    mac: bytes | None = None
    heard_s: float = 0.0
    asked_s: float = -ASK_AGAIN_S


class Neighbours:
    """The MAC addresses of hosts on every link, and the frames that wait for one."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        """`links` by port."""
        self._links = links
        self._known: OrderedDict[tuple[str, Host], _Neighbour] = OrderedDict()
        self._waiting: dict[tuple[str, Host], deque[bytes]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def send(self, port: str, host: Host, frame: bytes, now_s: float) -> Iterator[bytes]:
        """The frame to the host with both MAC addresses in place, or the question for it while it waits."""
        key = port, host
        known = self._known.setdefault(key, _Neighbour())
        if len(self._known) > MOST_NEIGHBOURS:
            forgotten, _ = self._known.popitem(last=False)
            self._waiting.pop(forgotten, None)
        link = self._links[port]
        if known.mac is not None:
            yield known.mac + link.mac + frame[12:]
        else:
            self._waiting.setdefault(key, deque(maxlen=LONGEST_QUEUE)).append(frame)
        stale = known.mac is None or now_s - known.heard_s > STALE_S
        if stale and now_s - known.asked_s >= ASK_AGAIN_S:
            known.asked_s = now_s
            yield from question(link, host)

    def learn(self, port: str, host: Host, mac: bytes, now_s: float) -> Iterator[bytes]:
        """Take what a host said of itself, if it was asked; the frames that waited for it."""
        known = self._known.get((port, host))
        if known is None or mac[0] & 1:
            return
        known.mac, known.heard_s = mac, now_s
        for frame in self._waiting.pop((port, host), ()):
            yield mac + self._links[port].mac + frame[12:]

    def drop_waiting(self, port: str, host: Host) -> None:
        """Forget the frames that wait for a host."""
        self._waiting.pop((port, host), None)


def question(link: Link, host: Host) -> Iterator[bytes]:
    """The frame that asks a host on the link for its MAC address; none where the link has no address of its family."""
    source = link.source(host[0])
    if source is not None:
        ask = build.arp_request if host[0] == 4 else build.neighbour_solicitation
        yield ask(link.mac, source, host[1])


def asked_for(frame: bytes, packet: Frame, own: Iterable[Host]) -> bool:
    """Whether an ARP request or neighbour solicitation asks for one of these addresses."""
    if packet.ethertype == ARP:
        body = frame[packet.network :]
        return body[6:8] == b"\0\1" and (4, int.from_bytes(body[24:28], "big")) in own
    if packet.icmp_type != SOLICITATION or packet.end - packet.transport < 24 or not packet.source:
        return False
    return (6, int.from_bytes(frame[packet.transport + 8 : packet.transport + 24], "big")) in own


def said_of(frame: bytes, packet: Frame) -> tuple[Host, bytes] | None:
    """The host and its MAC address that an ARP packet or a neighbour advertisement tells of; None: it tells of none."""
    if packet.ethertype == ARP:
        body = frame[packet.network :]
        return (4, int.from_bytes(body[14:18], "big")), body[8:14]
    option = packet.transport + 24
    if packet.icmp_type != ADVERTISEMENT or packet.end < option + 8 or frame[option : option + 2] != b"\x02\x01":
        return None
    return (6, int.from_bytes(frame[packet.transport + 8 : packet.transport + 24], "big")), frame[
        option + 2 : option + 8
    ]


def time_exceeded(frame: bytes, packet: Frame, own: int) -> bytes | None:
    """The ICMP error that says the hop limit ran out, from the router's `own` address; None where none may be sent."""
    refused = build.unreachable(frame, packet)
    if refused is None:
        return None
    quoted = frame[packet.network : packet.end]
    if packet.version == 4:
        message = build.icmp(11, 0, bytes(4) + quoted[: build.LONGEST_ICMP_ERROR - 28])
        body = build.ipv4(own, packet.source, ICMP, message)
    else:
        rest = bytes(4) + quoted[: build.LONGEST_ICMPV6_ERROR - 48]
        body = build.ipv6(own, packet.source, ICMPV6, build.icmpv6(own, packet.source, 3, 0, rest))
    return build.answer_header(frame, packet) + body
