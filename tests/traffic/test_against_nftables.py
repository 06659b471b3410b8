"""The Linux kernel as oracle: the same frames through the same rules, in nftables and in the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from time import monotonic

import pytest

from tests.traffic.kernel_router import MARKER_PORT, KernelRouter, is_forwarded, kernel_router, missing
from tests.traffic.random_traffic import random_traffic
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.engine import Engine
from vafw.traffic.frame import Frame, Malformed, parse
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.pcap import read_capture
from vafw.traffic.rule import ICMPV6, UDP, Action, AddressSet, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.services import SERVICES

EVERYTHING = AddressSet.everything()
ANY = (Selector(None, EVERYTHING),)
USER = (Selector(INSIDE, EVERYTHING),)
PRIVATE = (Selector(None, AddressSet.of(map(ip_network, ("192.168.0.0/16", "fd00::/8")))),)
HOST = (Selector(None, AddressSet.of(map(ip_network, ("10.1.0.3/32", "2001:db8:1::3/128")))),)
MARKER = Rule("marker", ANY, ANY, (ServiceMatch(UDP, ((MARKER_PORT, MARKER_PORT),)),), Action.ACCEPT)
RULES = Ruleset(
    (
        MARKER,
        Rule("no-private", USER, PRIVATE, (), Action.REJECT),
        Rule("web", USER, ANY, SERVICES["http"] + SERVICES["https"] + SERVICES["quic"], Action.ACCEPT),
        Rule("names", USER, ANY, SERVICES["dns"], Action.ACCEPT),
        Rule("ping", USER, ANY, SERVICES["ping"], Action.ACCEPT),
        Rule("inwards", ANY, HOST, SERVICES["ssh"] + SERVICES["ping"] + SERVICES["quic"], Action.ACCEPT),
        Rule("esp", USER, ANY, (ServiceMatch(50),), Action.ACCEPT),
    ),
    Action.DROP,
)
ROOT = Path(__file__).parents[2]
CAPTURES = [ROOT / "policies/office-laptop/captures/office.pcap", ROOT / "tests/captures/office-10k.pcap.gz"]
USER_MAC = bytes.fromhex("525400aa0001")
USER_NETWORKS = ("10.0.0.2/32", "2001:db8:a::2/128")
GATEWAY = (Selector(None, AddressSet.of(map(ip_network, ("10.0.0.1/32", "2001:db8:a::1/128")))),)
LAN = (Selector(None, AddressSet.of(map(ip_network, ("10.0.0.0/8", "192.168.0.0/16", "2001:db8:a::/48")))),)
OFFICE = Ruleset(
    (
        MARKER,
        Rule("resolve", USER, GATEWAY, SERVICES["dns"], Action.ACCEPT),
        Rule("gateway-ping", USER, GATEWAY, SERVICES["ping"], Action.ACCEPT),
        Rule("no-lan", USER, LAN, (), Action.REJECT),
        Rule("web", USER, ANY, SERVICES["http"] + SERVICES["https"] + SERVICES["quic"], Action.ACCEPT),
        Rule("ping", USER, ANY, SERVICES["ping"], Action.ACCEPT),
    ),
    Action.DROP,
)
INSIDE_NETWORKS = ("10.1.0.0/24", "2001:db8:1::/64")

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


def routable(frame: bytes) -> bool:
    """Whether a router forwards such a packet at all: unicast, with hops left, no neighbour discovery, no tag."""
    packet = parse(frame)
    if isinstance(packet, Malformed):
        return True
    groups = 0xE0 << 24 if packet.version == 4 else 0xFF << 120
    link_local = packet.version == 6 and packet.destination >> 118 == 0xFE80 >> 6
    neighbour = packet.protocol == ICMPV6 and 130 <= packet.icmp_type <= 137
    unicast = packet.destination < groups and not link_local and not neighbour
    return bool(packet.version and not packet.vlans and packet.hop_limit > 1 and unicast)


@dataclass
class Datagram:
    """A datagram in fragments, which the kernel passes whole or not at all, and the engine piece by piece."""

    engine: bool = True
    kernel: bool = False
    reached: int = 0
    orderly: bool = True
    complete: bool = False

    def note(self, packet: Frame, engine: bool, kernel: bool) -> None:
        self.engine, self.kernel = self.engine and engine, self.kernel or kernel
        self.orderly = self.orderly and packet.fragment_offset == self.reached
        self.reached = packet.fragment_offset + packet.end - packet.transport
        self.complete = not packet.more_fragments

    @property
    def differs(self) -> bool:
        """Only where all came in order: what is ahead of its turn the engine drops and the kernel keeps."""
        return self.complete and self.orderly and self.engine != self.kernel


def differences(router: KernelRouter, engine: Engine, traffic: Iterable[tuple[str, bytes]]) -> tuple[int, list[str]]:
    """How many frames were compared, and a line about each on which kernel and engine disagree."""
    compared, found = 0, []
    datagrams: dict[tuple[int, ...], Datagram] = {}
    for number, (side, frame) in enumerate(traffic):
        if not routable(frame):
            continue
        decision = engine.decide(frame, side, monotonic())
        packet = decision.packet
        seen = [each[14:] for each in router.feed(side, frame)]
        passes = decision.action is Action.ACCEPT
        compared += 1
        if isinstance(packet, Frame) and packet.is_fragment:
            key = (packet.source, packet.destination, packet.fragment_id, packet.protocol)
            came = any(same_datagram(each, packet) for each in seen)
            datagrams.setdefault(key, Datagram()).note(packet, passes, came)
            continue
        kernel_passes = any(is_forwarded(each, frame[14:]) for each in seen)
        if passes != kernel_passes:
            found.append(f"{number}: kernel {kernel_passes}, engine {decision} from {side}: {frame.hex()}")
    found += [f"datagram {key}: {each}" for key, each in datagrams.items() if each.differs]
    return compared, found


def same_datagram(data: bytes, packet: Frame) -> bool:
    kind = b"\x08\x00" if packet.version == 4 else b"\x86\xdd"
    other = parse(bytes(12) + kind + data)
    if not isinstance(other, Frame):
        return False
    same_id = packet.version == 6 or other.fragment_id == packet.fragment_id
    return same_id and (other.source, other.destination) == (packet.source, packet.destination)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_traffic_is_decided_as_the_kernel_decides_it(seed: int) -> None:
    traffic = random_traffic(seed, conversations=60, packets=1500)
    with kernel_router(nftables_text(RULES, inside="in0", outside="out0"), inside=INSIDE_NETWORKS) as router:
        compared, found = differences(router, Engine(RULES), traffic)
    assert found == []
    assert compared >= 1000


@pytest.mark.parametrize("rules", [OFFICE, Ruleset((MARKER, Rule("all", USER, ANY, (), Action.ACCEPT)), Action.DROP)])
@pytest.mark.parametrize("capture", [each for each in CAPTURES if each.exists()], ids=lambda each: str(each.name))
def test_captured_traffic_is_decided_as_the_kernel_decides_it(capture: Path, rules: Ruleset) -> None:
    traffic = [(INSIDE if each.data[6:12] == USER_MAC else OUTSIDE, each.data) for each in read_capture(capture)]
    with kernel_router(nftables_text(rules, inside="in0", outside="out0"), inside=USER_NETWORKS) as router:
        compared, found = differences(router, Engine(rules), traffic)
    assert found == []
    assert compared > len(traffic) * 0.9
