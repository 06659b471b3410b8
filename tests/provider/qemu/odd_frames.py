"""Frames that a router has to know by itself what to do with: they are for it, for a group, for nobody, or too old."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from vafw.traffic.appliance import INSIDE, OUTSIDE

ROUTER_MAC = "02:00:00:00:00:02"
"""Stands for the MAC address of the router's port."""
MACS = [ROUTER_MAC] * 8 + ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "02:00:00:00:00:99"]
ROUTER = {
    OUTSIDE: {
        "addresses": ["198.18.2.1/24", "fd00:1234:2::1/64"],
        "gateway": ["198.18.2.2", "fd00:1234:2::2"],
    },
    INSIDE: {"addresses": ["10.1.0.1/24", "2001:db8:1::1/64"]},
}
"""A router for the hosts of `random_traffic`."""
INNER = {4: ["10.1.0.2", "10.1.0.3"], 6: ["2001:db8:1::2", "2001:db8:1::3"]}
OUTER = {4: ["203.0.113.5", "198.18.2.9"], 6: ["2001:db8:ffff::5", "fd00:1234:2::9"]}
OWN = {4: ["10.1.0.1", "198.18.2.1"], 6: ["2001:db8:1::1", "fd00:1234:2::1"]}
STRANGE = {
    4: [
        "169.254.1.1",
        "224.0.0.5",
        "239.1.2.3",
        "255.255.255.255",
        "10.1.0.255",
        "10.1.0.0",
        "198.18.2.255",
        "240.0.0.1",
    ],
    6: ["fe80::7", "ff02::1", "ff0e::1:2", "ff02::2"],
}


def odd_frames(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """So many frames, with the side that they come in by; the same for the same seed."""
    random = Random(seed)
    for _ in range(count):
        side, version = random.choice((INSIDE, OUTSIDE)), random.choice((4, 6))
        usual, far = (INNER, OUTER) if side == INSIDE else (OUTER, INNER)
        hosts = [usual, far, OWN, STRANGE]
        source = random.choice(random.choices(hosts, (8, 2, 1, 1))[0][version])
        destination = random.choice(random.choices([far, usual, OWN, STRANGE], (4, 2, 4, 3))[0][version])
        hops = random.choice((0, 1, 1, 2, 64, 64, 64))
        header = IP(src=source, dst=destination, ttl=hops, id=random.randrange(65536)) if version == 4 else IPv6(
            src=source, dst=destination, hlim=hops
        )  # fmt: skip
        packet = Ether(src="02:00:00:00:00:01", dst=random.choice(MACS)) / header / _transport(random, version)
        yield side, bytes(packet)


def _transport(random: Random, version: int) -> Packet:
    wrong = {"chksum": 0x1234} if random.random() < 0.1 else {}
    ports = {"sport": random.choice((4000, 4001)), "dport": random.choice((22, 53, 443, 2222, 5300))}
    echo: Any = ICMP(type=8, id=7, **wrong) if version == 4 else ICMPv6EchoRequest(id=7)
    kinds: list[Any] = [echo, TCP(flags="S", seq=random.randrange(1 << 32), **ports), UDP(**ports, **wrong)]
    return random.choice(kinds) / Raw(random.randbytes(random.randrange(40)))
