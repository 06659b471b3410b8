"""Random traffic between a few hosts on both sides: mostly sensible, often a little wrong, always repeatable.

Each conversation is a generator of (side, packet) that remembers what both ends have said, so that its next packet can
be right, or nearly; the conversations are shuffled together. Packets are built by scapy, which shares nothing with what
is under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite

Conversation = Iterator[tuple[str, bytes]]

HOSTS = {
    (INSIDE, 4): [f"10.1.0.{n}" for n in (2, 3, 77)],
    (OUTSIDE, 4): ["203.0.113.5", "203.0.113.9", "192.168.7.7"],
    (INSIDE, 6): [f"2001:db8:1::{n}" for n in (2, 3)],
    (OUTSIDE, 6): ["2001:db8:ffff::5", "fd12::7"],
}
PORTS = [22, 53, 80, 443, 8080]
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
USUAL_FLAGS = ["S", "SA", "A", "A", "A", "PA", "PA", "PA", "FA", "R", "RA"]
STRANGE_FLAGS = ["", "F", "SF", "SR", "FPU", "FSRPAUEC", "P", "U", "SU", "AU", "FAU", "SAU", "AEC", "RF", "RAF", "SFA"]


def random_traffic(seed: int, conversations: int, packets: int) -> list[tuple[str, bytes]]:
    """Frames of many conversations, shuffled together."""
    random = Random(seed)
    kinds: list[Callable[[Random], Conversation]] = [
        tcp,
        tcp,
        tcp,
        tcp,
        polite_tcp,
        polite_tcp,
        udp,
        ping,
        fragments,
        other,
    ]
    running = [random.choice(kinds)(random) for _ in range(conversations)]
    frames: list[tuple[str, bytes]] = []
    while running and len(frames) < packets:
        conversation = random.choice(running)
        try:
            frames.append(next(conversation))
        except StopIteration:
            running.remove(conversation)
            running.append(random.choice(kinds)(random))
    return frames


def ip(random: Random, side: str, hosts: dict[str, str], version: int) -> Any:
    source, destination = hosts[side], hosts[opposite(side)]
    if version == 4:
        options = random.choice([[], [], [], [], b"\x01\x01\x01\x00"])
        return IP(
            src=source, dst=destination, id=random.randrange(65536), options=options, ttl=random.randrange(2, 255)
        )
    header = IPv6(src=source, dst=destination, hlim=random.randrange(2, 255))
    if random.random() < 0.1:
        return header / random.choice([IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop()])
    return header


def meet(random: Random) -> tuple[str, int, dict[str, str]]:
    version = random.choice([4, 4, 6])
    side = random.choice([INSIDE, INSIDE, INSIDE, OUTSIDE])
    return side, version, {each: random.choice(HOSTS[each, version]) for each in (INSIDE, OUTSIDE)}


def frame(packet: Any, random: Random) -> bytes:
    data = bytes(ETHERNET / packet)
    if random.random() < 0.02:  # a bit tips over
        at = random.randrange(14, len(data))
        data = data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    return data


def jitter(random: Random) -> int:
    return random.choice([0] * 12 + [1, -1, 5, -5, 1000, -1000, 65000, -65000, 70000, -70000, 10**6, -(10**6), 2**31])


def tcp(random: Random) -> Conversation:
    """Two ends that use any flags at any time, with numbers that are mostly right."""
    opener, version, hosts = meet(random)
    ports = {opener: random.randrange(1024, 1034), opposite(opener): random.choice(PORTS)}
    following = {side: random.choice([random.randrange(2**32), 0, 2**32 - 100]) for side in hosts}
    scale = random.choice([0, 0, 3, 7])
    script = random.choice(
        [["S", "SA", "A"], ["S", "SA", "A"], ["A"], ["SA"], ["S", "S"], ["S", "RA"], ["S", "A", "R"], []]
    )
    side = opener
    for turn in range(random.randrange(3, 40)):
        strange = random.random() < 0.08
        flags = script[turn] if turn < len(script) else random.choice(STRANGE_FLAGS if strange else USUAL_FLAGS)
        data = bytes(random.choice([0, 0, 10, 100, 1000])) if "S" not in flags and "R" not in flags else b""
        options: list[Any] = []
        if "S" in flags:
            options = random.choice([[], [("WScale", scale), ("SAckOK", b"")], [("MSS", 1460), ("WScale", scale)]])
        elif random.random() < 0.2:
            edge = following[opposite(side)] + random.choice([100, 1000, 5000])
            options = [("NOP", None), ("NOP", None), ("SAck", (edge - 50 & 0xFFFFFFFF, edge & 0xFFFFFFFF))]
        elif random.random() < 0.3:
            options = [("NOP", None), ("NOP", None), ("Timestamp", (turn, 0))]
        sequence = following[side] + jitter(random)
        acknowledgement = following[opposite(side)] + jitter(random) if "A" in flags or strange else 0
        if flags == "R" and random.random() < 0.5:
            sequence = following[side]
        segment = TCP(
            sport=ports[side], dport=ports[opposite(side)], flags=flags, seq=sequence & 0xFFFFFFFF,
            ack=acknowledgement & 0xFFFFFFFF, window=random.choice([65535, 8192, 1000, 0]), options=options,
        )  # fmt: skip
        yield side, frame(ip(random, side, hosts, version) / segment / Raw(data), random)
        if random.random() < 0.9:
            following[side] = (sequence + len(data) + ("S" in flags) + ("F" in flags)) & 0xFFFFFFFF
        side = side if random.random() < 0.35 or (turn == 0 and random.random() < 0.2) else opposite(side)


def polite_tcp(random: Random) -> Conversation:
    """A whole connection as it should be, with a retransmission and an ICMP error now and then."""
    opener, version, hosts = meet(random)
    peer = opposite(opener)
    ports = {opener: random.randrange(2000, 60000), peer: random.choice(PORTS)}
    following = {opener: random.randrange(2**32), peer: random.randrange(2**32)}

    def segment(side: str, flags: str, data: bytes = b"", options: Any = ()) -> Any:
        packet = TCP(
            sport=ports[side], dport=ports[opposite(side)], flags=flags, seq=following[side], window=502,
            ack=following[opposite(side)] if "A" in flags else 0, options=list(options),
        )  # fmt: skip
        following[side] = (following[side] + len(data) + ("S" in flags) + ("F" in flags)) & 0xFFFFFFFF
        return ip(random, side, hosts, version) / packet / Raw(data)

    scaled = [("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]
    yield opener, frame(segment(opener, "S", options=scaled), random)
    yield peer, frame(segment(peer, "SA", options=scaled), random)
    yield opener, frame(segment(opener, "A"), random)
    for _ in range(random.randrange(1, 8)):
        side = random.choice([opener, peer])
        sent = segment(side, "PA", bytes(random.choice([1, 100, 1400])))
        yield side, frame(sent, random)
        if random.random() < 0.2:
            yield side, frame(sent, random)
        if random.random() < 0.2:
            yield opposite(side), frame(error(random, sent, hosts[opposite(side)], hosts[side]), random)
        yield opposite(side), frame(segment(opposite(side), "A"), random)
    closer = random.choice([opener, peer])
    if random.random() < 0.3:
        yield closer, frame(segment(closer, random.choice(["R", "RA"])), random)
        return
    yield closer, frame(segment(closer, "FA"), random)
    yield opposite(closer), frame(segment(opposite(closer), "FA"), random)
    yield closer, frame(segment(closer, "A"), random)
    if random.random() < 0.5:  # the same ports again
        following[opener] = random.randrange(2**32)
        yield opener, frame(segment(opener, "S", options=scaled), random)
        yield peer, frame(segment(peer, "SA", options=scaled), random)
        yield opener, frame(segment(opener, "A"), random)


def udp(random: Random) -> Conversation:
    side, version, hosts = meet(random)
    ports = {side: random.randrange(3000, 3010), opposite(side): random.choice(PORTS)}
    for _ in range(random.randrange(1, 10)):
        datagram = UDP(
            sport=ports[side], dport=ports[opposite(side)], **random.choice([{}] * 9 + [{"chksum": 0}, {"len": 7}])
        )
        sent = ip(random, side, hosts, version) / datagram / Raw(bytes(random.randrange(0, 100)))
        yield side, frame(sent, random)
        if random.random() < 0.3:
            yield opposite(side), frame(error(random, sent, hosts[opposite(side)], hosts[side]), random)
        if random.random() < 0.5:
            side = opposite(side)


def ping(random: Random) -> Conversation:
    side, version, hosts = meet(random)
    identifier = random.randrange(5)
    for number in range(random.randrange(1, 6)):
        if version == 4:
            kind = random.choice([8, 8, 8, 8, 0, 13, 17, 15, 40, 9])
            request, reply = ICMP(type=kind, id=identifier, seq=number), ICMP(type=max(kind - 8, 0), id=identifier)
        else:
            request, reply = ICMPv6EchoRequest(id=identifier, seq=number), ICMPv6EchoReply(id=identifier, seq=number)
        sent = ip(random, side, hosts, version) / request / Raw(b"ping")
        yield side, frame(sent, random)
        if random.random() < 0.6:
            yield opposite(side), frame(ip(random, opposite(side), hosts, version) / reply / Raw(b"ping"), random)
        if random.random() < 0.3:
            yield opposite(side), frame(error(random, sent, hosts[opposite(side)], hosts[side]), random)


def error(random: Random, sent: Any, reporter: str, victim: str) -> Any:
    """An ICMP error about a packet: mostly to its sender, now and then to another or cut short."""
    quoted = bytes(sent)[: random.choice([600, 600, 48, 28, 24, 20])]
    if sent.version == 4:
        goes_to = random.choice([victim] * 5 + HOSTS[INSIDE, 4])
        kind, code = random.choice([(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (5, 1), (4, 0)])
        return IP(src=reporter, dst=goes_to) / ICMP(type=kind, code=code) / Raw(quoted)
    goes_to = random.choice([victim] * 5 + HOSTS[INSIDE, 6])
    kind6 = random.choice([ICMPv6DestUnreach(code=1), ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded()])
    return IPv6(src=reporter, dst=goes_to) / kind6 / Raw(quoted)


def fragments(random: Random) -> Conversation:
    side, _, hosts = meet(random)
    hosts = {each: random.choice(HOSTS[each, 4]) for each in (INSIDE, OUTSIDE)}
    for _ in range(random.randrange(1, 4)):
        datagram = UDP(sport=5000, dport=random.choice(PORTS)) / Raw(random.randbytes(random.randrange(600, 3000)))
        whole = IP(src=hosts[side], dst=hosts[opposite(side)], id=random.randrange(65536)) / datagram
        for part in fragment(whole, fragsize=random.choice([200, 512, 1000])):
            yield side, bytes(ETHERNET / part)


def other(random: Random) -> Conversation:
    side, version, hosts = meet(random)
    protocol = random.choice([50, 47, 89, 58 if version == 4 else 1])
    ends = {"src": hosts[side], "dst": hosts[opposite(side)]}
    header = IP(**ends, proto=protocol) if version == 4 else IPv6(**ends, nh=protocol)
    for _ in range(random.randrange(1, 4)):
        yield side, frame(header / Raw(random.randbytes(40)), random)
