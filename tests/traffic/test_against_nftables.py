"""The Linux kernel as oracle: the same frames through the same rules, in nftables and in the engine."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from time import monotonic

import pytest

from tests.traffic.kernel_router import MARKER_PORT, KernelRouter, is_forwarded, kernel_router, missing
from tests.traffic.random_traffic import random_traffic
from vafw.traffic.appliance import INSIDE
from vafw.traffic.engine import Decision, Engine
from vafw.traffic.frame import Frame, parse
from vafw.traffic.nftables import nftables_text
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
INSIDE_NETWORKS = ("10.1.0.0/24", "2001:db8:1::/64")

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


def routable(packet: Decision) -> bool:
    """Whether a router forwards such a packet at all: unicast, with hops left, no neighbour discovery, no tag."""
    frame = packet.packet
    if not isinstance(frame, Frame):
        return True
    groups = 0xE0 << 24 if frame.version == 4 else 0xFF << 120
    neighbour = frame.protocol == ICMPV6 and 130 <= frame.icmp_type <= 137
    return bool(
        frame.version and not frame.vlans and frame.hop_limit > 1 and frame.destination < groups and not neighbour
    )


def differences(router: KernelRouter, engine: Engine, traffic: Iterable[tuple[str, bytes]]) -> tuple[int, list[str]]:
    """How many frames were compared, and a line about each on which kernel and engine disagree."""
    compared, found = 0, []
    whole: dict[tuple[int, ...], tuple[bool, bool, bool]] = {}
    for number, (side, frame) in enumerate(traffic):
        decision = engine.decide(frame, side, monotonic())
        if not routable(decision):
            continue
        packet = decision.packet
        seen = [each[14:] for each in router.feed(side, frame)]
        passes = decision.action is Action.ACCEPT
        compared += 1
        if isinstance(packet, Frame) and packet.is_fragment:
            key = (packet.source, packet.destination, packet.fragment_id, packet.protocol)
            ours, theirs, _ = whole.setdefault(key, (True, False, False))
            came = any(_same_datagram(each, packet) for each in seen)
            whole[key] = (ours and passes, theirs or came, not packet.more_fragments)
            continue
        kernel_passes = any(is_forwarded(each, frame[14:]) for each in seen)
        if passes != kernel_passes:
            found.append(
                f"{number}: kernel {kernel_passes}, engine {decision} from {side}: {frame.hex()} SEEN {[s.hex() for s in seen]}"
            )
    found += [f"datagram {key}: {each}" for key, each in whole.items() if each[2] and each[0] != each[1]]
    return compared, found


def _same_datagram(data: bytes, packet: Frame) -> bool:
    other = parse(bytes(12) + b"\x08\x00" + data)
    return isinstance(other, Frame) and (other.source, other.fragment_id) == (packet.source, packet.fragment_id)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_traffic_is_decided_as_the_kernel_decides_it(seed: int) -> None:
    traffic = random_traffic(seed, conversations=60, packets=1500)
    with kernel_router(nftables_text(RULES, inside="in0", outside="out0"), inside=INSIDE_NETWORKS) as router:
        compared, found = differences(router, Engine(RULES), traffic)
    assert found == []
    assert compared >= 1000
