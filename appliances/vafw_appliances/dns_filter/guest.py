"""The DNS filter: reads queries in passing, answers blocked names with NXDOMAIN, logs each of them.

Transparent: it has no address, and every frame that is no DNS query from the inside passes unchanged, after a look at a
few bytes. A blocked query is not passed on; its answer comes in the name of the server that was asked, with the query's
id, on its VLAN. What goes to port 53 and is no query is dropped, and so are queries in IP fragments.

What comes from outside passes; servers' TCP segments are looked at to learn where a stream begins and ends.
Over TCP the segment that would complete a blocked query is dropped, however the query was cut; the client gets the
NXDOMAIN with a FIN, the server a RST, and what the client still says on that connection is answered here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from copy import copy
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vafw.trace import Value
from vafw.traffic import config as reader
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict
from vafw.traffic.blocklist import BlockList, host_name
from vafw.traffic.build import ipv4, ipv6, tcp, tcp_answer, udp_answer
from vafw.traffic.dns import PORT, MalformedMessage, Question, framed, name_error, read_question
from vafw.traffic.dns_stream import Streams
from vafw.traffic.frame import ACK, FIN, PSH, RST, SYN, Frame, Malformed, parse, transport_checksum_holds
from vafw.traffic.name_notice import is_notice, notices
from vafw.traffic.rule import TCP, UDP
from vafw_appliances.dns_filter.follower import Follower

RECENT: Final = 50
"""Names in a report at most, of each kind, the latest."""

PASSED: Final = "(passed)"
ALLOWED: Final = "(allowed)"
BLOCKED: Final = "blocked"
MALFORMED: Final = "(malformed)"
FRAGMENT: Final = "(fragment)"
NOTICE: Final = "(notice)"
STREAM: Final = "(stream)"

_IPV4: Final = b"\x08\x00\x45"
_IPV6: Final = b"\x86\xdd"
_PORT_BYTES: Final = PORT.to_bytes(2, "big")
_TCP_BYTE: Final = TCP.to_bytes(1, "big")
_UDP_BYTE: Final = UDP.to_bytes(1, "big")
_SETTINGS: Final = ("block", "allow", "resolvers", "follow")


def create(config: Mapping[str, Value]) -> PacketAppliance:
    """The filter with the names of `config["block"]` and `config["allow"]`; ValueError says what is wrong with them.

    ``resolvers``, the addresses it guards, is only reported: queries to any server are looked at. ``follow`` are the
    names that rules speak of: their addresses are told to the firewall (`vafw.traffic.name_notice`).
    """
    return DnsFilter(*_settings(config))


def _settings(config: Mapping[str, Value]) -> tuple[BlockList, tuple[str, ...], Follower]:
    settings = reader.mapping(dict(config), "the DNS filter's config", _SETTINGS)
    texts = {key: reader.texts(settings.get(key, []), key) for key in _SETTINGS}
    names = BlockList(_names(texts["block"], "block"), _names(texts["allow"], "allow"))
    return names, texts["resolvers"], Follower(texts["follow"])


def _names(texts: tuple[str, ...], where: str) -> frozenset[str]:
    try:
        return frozenset(host_name(text) for text in texts)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


class DnsFilter:
    """An inline appliance with two ports."""

    def __init__(self, names: BlockList, resolvers: tuple[str, ...] = (), follower: Follower | None = None) -> None:
        self._names = names
        self._resolvers = resolvers
        self._follower = follower or Follower()
        self._streams = Streams()
        self._frames = 0
        self._counts = dict.fromkeys(("allowed", "blocked", "malformed"), 0)
        self._blocked: dict[str, int] = {}
        self._recent: dict[str, deque[str]] = {key: deque(maxlen=RECENT) for key in ("allowed", "blocked")}

    def reconfigured(self, config: Mapping[str, Value]) -> DnsFilter:
        """The filter that follows this one with other names: streams stay open, counts go on."""
        follower = copy(self)  # of two that share streams and counts only one is handed frames
        follower._names, follower._resolvers, follower._follower = _settings(config)
        return follower

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Decide on one frame."""
        self._frames += 1
        if is_notice(frame):
            return Verdict(Outcome.DROPPED, NOTICE)  # only this filter sends any
        if port == OUTSIDE:
            heard = self._streamed(frame, now_s) if may_be_answer(frame) else ()
            told = tuple((OUTSIDE, each) for each in heard or self._followed(frame, now_s))
            return Verdict(Outcome.PASSED, PASSED, (*told, (INSIDE, frame)))
        if not may_be_query(frame):
            return Verdict(Outcome.PASSED, PASSED, ((OUTSIDE, frame),))
        packet = parse(frame)
        if isinstance(packet, Malformed):
            return self._drop_malformed(packet.reason)
        if packet.destination_port != PORT or packet.protocol not in (TCP, UDP):
            return Verdict(Outcome.PASSED, PASSED, ((OUTSIDE, frame),))
        if packet.is_fragment:
            return Verdict(Outcome.DROPPED, FRAGMENT, (), "dropped a query in fragments")
        return (
            self._judge_udp(frame, packet, now_s) if packet.protocol == UDP else self._judge_tcp(frame, packet, now_s)
        )

    def probe(self) -> tuple[bool, str]:
        """Block a name in a query made for the purpose, if any name is to be blocked."""
        blocked = sorted(self._names.blocked)
        if not blocked:
            return True, "no name is to be blocked"
        name = next((each for each in blocked if self._names.blocking(each)), None)
        if name is None:
            return False, "every blocked name is also allowed"
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        asked = read_question(b"\0\1\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
        if isinstance(asked, MalformedMessage) or not self._names.blocking(asked.name):
            return False, f"a query for {name} would not be blocked"
        return True, f"{len(blocked)} names are blocked, a query for {name} gets NXDOMAIN"

    def report(self) -> Mapping[str, Value]:
        """Frames and queries, the latest names, and how often each blocked name was asked for."""
        most = sorted(self._blocked.items(), key=lambda item: (-item[1], item[0]))
        return {
            "frames": self._frames,
            "queries": dict(self._counts),
            "names": len(self._names.blocked),
            "resolvers": list(self._resolvers),
            "recent-allowed": list(self._recent["allowed"]),
            "recent-blocked": list(self._recent["blocked"]),
            "blocked": dict(most[:RECENT]),
        }

    def _followed(self, frame: bytes, now_s: float) -> tuple[bytes, ...]:
        """What the firewall is told about the name that this answer is about."""
        if not self._follower.patterns or not may_be_udp_answer(frame):
            return ()
        packet = parse(frame)
        if not isinstance(packet, Frame) or packet.is_fragment or packet.vlans or not packet.payload:
            return ()
        if packet.protocol != UDP or packet.source_port != PORT or not transport_checksum_holds(frame, packet):
            return ()
        return notices(self._follower.answers(packet, frame[packet.payload : packet.end], now_s))

    def _judge_udp(self, frame: bytes, packet: Frame, now_s: float) -> Verdict:
        asked = read_question(frame[packet.payload : packet.end])
        if isinstance(asked, MalformedMessage):
            return self._drop_malformed(asked.reason)
        if not self._blocks(asked):
            self._follower.asks(packet, asked, now_s)
            return Verdict(Outcome.PASSED, ALLOWED, ((OUTSIDE, frame),))
        answer = udp_answer(frame, packet, name_error(asked))
        return Verdict(Outcome.ANSWERED, BLOCKED, ((INSIDE, answer),), _line(asked, packet))

    def _streamed(self, frame: bytes, now_s: float) -> tuple[bytes, ...]:
        """Learn from a server where a stream begins, and that it is over; what the firewall is told of its answers."""
        packet = parse(frame)
        if not isinstance(packet, Frame) or packet.protocol != TCP or packet.source_port != PORT or packet.is_fragment:
            return ()
        stream = self._streams.answer(packet)
        if stream is None or stream.answers is None or not self._follower.patterns or packet.vlans:
            return ()
        if not transport_checksum_holds(frame, packet):
            return ()
        messages = stream.answers.feed(packet.sequence, frame[packet.payload : packet.end])
        return notices(found for each in messages for found in self._follower.answers(packet, each, now_s))

    def _judge_tcp(self, frame: bytes, packet: Frame, now_s: float) -> Verdict:
        if packet.flags & SYN and not self._streams.begin(packet, now_s):
            return Verdict(Outcome.DROPPED, STREAM)
        stream = self._streams.of(packet)
        if stream is not None:
            stream.heard_s = now_s
        data = frame[packet.payload : packet.end]
        if stream is not None and stream.refused:
            return _after_refusal(frame, packet)
        passed = Verdict(Outcome.PASSED, PASSED, ((OUTSIDE, frame),))
        if not data:
            return passed
        queries = stream.completes(packet, data) if stream else None
        if stream is None or queries is None:
            return Verdict(Outcome.DROPPED, STREAM)
        for query in queries:
            asked = read_question(query)
            if isinstance(asked, MalformedMessage):
                return self._drop_malformed(asked.reason)
            if self._blocks(asked):
                stream.refused = stream.over = True  # the RST ends it at the server
                answer = tcp_answer(frame, packet, FIN | PSH | ACK, framed(name_error(asked)))
                emit = ((INSIDE, answer), (OUTSIDE, _reset_onward(frame, packet)))
                return Verdict(Outcome.ANSWERED, BLOCKED, emit, _line(asked, packet))
            self._follower.asks(packet, asked, now_s)
        stream.append(packet, data)
        return Verdict(Outcome.PASSED, ALLOWED, ((OUTSIDE, frame),)) if queries else passed

    def _blocks(self, asked: Question) -> bool:
        """Whether the name is blocked; counts it either way."""
        blocked = self._names.blocking(asked.name) is not None
        kind = "blocked" if blocked else "allowed"
        self._counts[kind] += 1
        self._recent[kind].append(asked.name)
        if blocked and (asked.name in self._blocked or len(self._blocked) < 1000):
            self._blocked[asked.name] = self._blocked.get(asked.name, 0) + 1
        return blocked

    def _drop_malformed(self, reason: str) -> Verdict:
        self._counts["malformed"] += 1
        return Verdict(Outcome.DROPPED, MALFORMED, (), f"dropped what goes to port 53 and is no query: {reason}")


def may_be_query(frame: bytes) -> bool:
    """Whether the frame needs a closer look: it goes to port 53, or a few bytes do not tell."""
    if frame[12:15] == _IPV4:
        return frame[36:38] == _PORT_BYTES and not (frame[20] & 0x1F or frame[21])
    kind = frame[12:14]
    if kind == _IPV6:
        following = frame[20] if len(frame) > 20 else 0
        return frame[56:58] == _PORT_BYTES if following in (TCP, UDP) else following != 58
    return kind not in (b"\x08\x06", b"\x88\xcc")


def may_be_answer(frame: bytes) -> bool:
    """Whether the frame may be a server's TCP segment: it comes from port 53, or a few bytes do not tell."""
    if frame[12:15] == _IPV4:
        return frame[23:24] == _TCP_BYTE and frame[34:36] == _PORT_BYTES
    kind = frame[12:14]
    if kind == _IPV6:
        following = frame[20] if len(frame) > 20 else 0
        return frame[54:56] == _PORT_BYTES if following == TCP else following not in (UDP, 58)
    return kind not in (b"\x08\x06", b"\x88\xcc")


def may_be_udp_answer(frame: bytes) -> bool:
    """Whether the frame may be a server's UDP datagram: it comes from port 53, or a few bytes do not tell."""
    if frame[12:15] == _IPV4:
        return frame[23:24] == _UDP_BYTE and frame[34:36] == _PORT_BYTES
    if frame[12:14] == _IPV6 and frame[20:21] == _UDP_BYTE:
        return frame[54:56] == _PORT_BYTES
    return frame[12:14] in (_IPV4[:2], _IPV6)


def _after_refusal(frame: bytes, packet: Frame) -> Verdict:
    """What a client still says after its query was refused: its FIN is acknowledged, all else ends here."""
    if packet.flags & FIN:
        return Verdict(Outcome.ANSWERED, BLOCKED, ((INSIDE, tcp_answer(frame, packet, ACK)),))
    return Verdict(Outcome.DROPPED, BLOCKED)


def _reset_onward(frame: bytes, packet: Frame) -> bytes:
    """The RST by which the server learns, in the client's name, that nothing more will come."""
    ends = (packet.source, packet.destination)
    segment = tcp(*ends, packet.source_port, packet.destination_port, sequence=packet.sequence, flags=RST, window=0)
    build = ipv4 if packet.version == 4 else ipv6
    return frame[: packet.network] + build(*ends, TCP, segment)


def _line(asked: Question, packet: Frame) -> str:
    address = IPv4Address if packet.version == 4 else IPv6Address
    return f"blocked {asked.name} ({asked.kind}), asked by {address(packet.source)}"
