"""The firewall guest's kernel as oracle: the same frames through nftables on its bridge and through the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from time import monotonic

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.contract.benches import require_guests
from tests.provider.qemu.guest_bridge import GuestBridge, guest_bridge
from tests.traffic.random_traffic import random_traffic
from tests.traffic.test_against_nftables import CAPTURES, OFFICE, RULES, USER_MAC, Datagram, same_datagram
from vafw.machine.report import Health
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.engine import Engine
from vafw.traffic.frame import Frame
from vafw.traffic.pcap import read_capture
from vafw.traffic.rule import Action, AddressSet

INSIDE_ADDRESSES = ("10.0.0.2/32", "10.1.0.250/32", "2001:db8:a::2/128")
"""The user's, and that from which markers come."""
RULES_WITH_INSIDE = replace(OFFICE, inside=AddressSet.of(map(ip_network, INSIDE_ADDRESSES)))
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
LONGEST = 1514
"""A bridge between two links of 1500 bytes passes no more; captures have what a card put together of several."""
TAGS = (b"\x81\x00", b"\x88\xa8")


def comparable(frame: bytes) -> bool:
    """Not tagged: the kernel takes a tag off before it looks, as the header of `nftables.py` says."""
    return len(frame) <= LONGEST and frame[12:14] not in TAGS


@pytest.fixture(scope="module")
def guest() -> Iterator[GuestBridge]:
    require_guests()
    with tempfile.TemporaryDirectory(prefix="vafw-") as name, guest_bridge(Path(name)) as made:
        yield made


def differences(guest: GuestBridge, engine: Engine, traffic: Iterable[tuple[str, bytes]]) -> tuple[int, list[str]]:
    """How many frames were compared, and a line about each on which kernel and engine disagree."""
    compared, found = 0, []
    traffic = [(side, frame) for side, frame in traffic if comparable(frame)]
    datagrams: dict[tuple[int, ...], Datagram] = {}
    for number, (side, frame) in enumerate(traffic):
        decision = engine.decide(frame, side, monotonic())
        packet, passes = decision.packet, decision.action is Action.ACCEPT
        seen = guest.feed(side, frame)
        compared += 1
        if isinstance(packet, Frame) and packet.is_fragment:
            key = (packet.source, packet.destination, packet.fragment_id, packet.protocol)
            datagrams.setdefault(key, Datagram()).note(
                packet, passes, any(same_datagram(each[14:], packet) for each in seen)
            )
        elif passes != any(frame.startswith(each) for each in seen):
            found.append(f"{number}: kernel {not passes}, engine {decision} from {side}: {frame.hex()}")
    found += [f"datagram {key}: {each}" for key, each in datagrams.items() if each.differs]
    return compared, found


def test_random_traffic_is_decided_as_the_guests_kernel_decides_it(guest: GuestBridge) -> None:
    rules = len(RULES.rules)
    assert guest.configure(RULES) == Health(True, f"nftables holds {rules} rules, policy drop, and the bridge is up")
    compared, found = differences(guest, Engine(RULES), random_traffic(1, conversations=60, packets=1500))
    assert found == []
    assert compared >= 1000


@pytest.mark.parametrize("capture", [each for each in CAPTURES if each.exists()], ids=lambda each: str(each.name))
def test_captured_traffic_is_decided_as_the_guests_kernel_decides_it(guest: GuestBridge, capture: Path) -> None:
    traffic = [(INSIDE if each.data[6:12] == USER_MAC else OUTSIDE, each.data) for each in read_capture(capture)]
    assert guest.configure(RULES_WITH_INSIDE).healthy
    compared, found = differences(guest, Engine(RULES_WITH_INSIDE), traffic)
    assert found == []
    assert compared > len(traffic) * 0.9


def test_an_open_connection_ends_where_the_new_rules_deny_it_and_goes_on_where_they_do_not(guest: GuestBridge) -> None:
    there, back = IP(src="10.0.0.2", dst="203.0.113.5"), IP(src="203.0.113.5", dst="10.0.0.2")
    opening = [
        (INSIDE, there / TCP(sport=4000, dport=443, flags="S", seq=1)),
        (OUTSIDE, back / TCP(sport=443, dport=4000, flags="SA", seq=1, ack=2)),
        (INSIDE, there / TCP(sport=4000, dport=443, flags="A", seq=2, ack=2)),
    ]
    data = bytes(ETHER / back / TCP(sport=443, dport=4000, flags="PA", seq=2, ack=2) / Raw(b"data"))
    without_ping = replace(RULES_WITH_INSIDE, rules=RULES_WITH_INSIDE.rules[:-1])
    without_web = replace(without_ping, rules=without_ping.rules[:-1], offload=True)
    assert guest.configure(RULES_WITH_INSIDE).healthy
    passed = [len(guest.feed(side, bytes(ETHER / packet))) for side, packet in opening]
    for ruleset in (without_ping, without_web):
        assert guest.configure(ruleset).healthy
        passed.append(len(guest.feed(OUTSIDE, data)))
    assert passed == [1, 1, 1, 1, 0]


def test_a_router_is_refused_by_a_guest_that_began_as_a_bridge(guest: GuestBridge) -> None:
    assert guest.configure(RULES).healthy
    assert guest.configure(RULES, router={}) == Health(
        False,
        "the ruleset cannot be read: router must be given when the guest begins: this one passes frames on as they are",
    )
