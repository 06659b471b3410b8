"""The firewall guest with two uplinks: who leaves by which, what comes in by which, and what happens when one is gone.

inside hosts ──dgram── inside :firewall guest: outside   ──dgram── first gateway, and all behind it
                                               outside-2 ──dgram── second gateway, and all behind it
"""

from __future__ import annotations

import select
import socket
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from tests.contract.benches import require_guests
from tests.provider.qemu.guest_bridge import PATIENCE_S, FirewallGuest, firewall_guest, is_marker
from tests.provider.qemu.guest_router import answered
from tests.provider.qemu.office import lab_plan
from tests.traffic.kernel_router import MARKER_PORT
from tests.traffic.random_policy import EVERYTHING, MARKER
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.build import ipv4, udp
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.packet import TCP as TCP_NUMBER
from vafw.traffic.rule import UDP, Action, Rule, Ruleset, Selector, ServiceMatch

FIRST, SECOND = OUTSIDE, "outside-2"
OWN: Final = {FIRST: "10.0.0.2", SECOND: "10.1.0.2"}
USER, SERVER, STRANGER = "192.168.88.2", "198.51.100.10", "9.9.9.9"
HOST_MAC = bytes.fromhex("0200000000aa")
ANY = (Selector(None, EVERYTHING),)
BULK = (ServiceMatch(TCP_NUMBER, ((873, 873),)),)
NAT = Nat(
    AddressSet.from_texts(["192.168.88.0/24"]),
    (
        PortForward("shell", TCP_NUMBER, (2222, 2222), 4, int(ip_address(USER)), 22),
        PortForward("web", TCP_NUMBER, (8080, 8080), 4, int(ip_address(USER)), 80),
    ),
)
RULES = Ruleset(
    (
        MARKER,
        Rule("bulk", (Selector(INSIDE, EVERYTHING),), ANY, BULK, Action.MARK, mark=7),
        Rule("no-web", (Selector(OUTSIDE, EVERYTHING),), ANY, (ServiceMatch(TCP_NUMBER, ((80, 80),)),), Action.REJECT),
        Rule("all", ANY, ANY, (), Action.ACCEPT),
    ),
    Action.DROP,
    nat=NAT,
)
Seen = list[tuple[str, Any]]
"""Card and packet of each frame that came out, but for neighbours' questions and markers."""


class Guest:
    """The guest, and whoever is at the other ends."""

    def __init__(self, guest: FirewallGuest, router: dict[str, Any]) -> None:
        self._guest, self._router = guest, router
        self.silent: set[str] = set()
        """Cards behind which nobody answers."""

    def configure(self, ruleset: Ruleset) -> None:
        """Have it enforce a ruleset."""
        health = self._guest.configure({"ruleset": ruleset.to_config(), "router": self._router})
        assert health.healthy, health.reason

    def up(self) -> list[bool]:
        """Which uplinks are up, as it says."""
        return [each["up"] for each in self._guest.report()["router"]["uplinks"]]

    def wait_until_up_are(self, *wanted: bool) -> None:
        """Go on answering neighbours until these are up."""
        began_s = monotonic()
        while self.up() != list(wanted):
            assert monotonic() - began_s < PATIENCE_S, self.up()
            self._taken(0.1)

    def feed(self, card: str, packet: Any) -> Seen:
        """Put a packet in; what came out by the time that two markers did, each in a poll of its own."""
        self._send(card, bytes(packet))
        return self._until_marker() + self._until_marker()

    def _until_marker(self) -> Seen:
        user, server = int(ip_address(USER)), int(ip_address(SERVER))
        self._send(INSIDE, ipv4(user, server, UDP, udp(user, server, 40000, MARKER_PORT, b"marker")))
        seen: list[tuple[str, bytes]] = []
        began_s = monotonic()
        while not any(is_marker(frame) for _, frame in seen):
            assert monotonic() - began_s < PATIENCE_S, "the guest is silent"
            seen += self._taken(1.0)
        return [(card, IP(frame[14:])) for card, frame in seen if frame[12:14] == b"\x08\x00" and not is_marker(frame)]

    def _send(self, card: str, packet: bytes) -> None:
        mac = bytes.fromhex(self._guest.ports[card].replace(":", ""))
        self._guest.ends[card].sendto(mac + HOST_MAC + b"\x08\x00" + packet, self._guest.into[card])

    def _taken(self, patience_s: float) -> list[tuple[str, bytes]]:
        ends = self._guest.ends
        ready, _, _ = select.select(list(ends.values()), [], [], patience_s)
        found = []
        for card, end in ends.items():
            if end in ready:
                frame = end.recv(65536, socket.MSG_DONTWAIT)
                answer = answered(frame, HOST_MAC)
                if answer is None:
                    found.append((card, frame))
                elif card not in self.silent:
                    end.sendto(answer, self._guest.into[card])
        return found


@pytest.fixture(scope="module")
def booted() -> Iterator[Guest]:
    require_guests()
    plan = lab_plan()
    router: Any = plan.vm("firewall").config["router"]
    with tempfile.TemporaryDirectory(prefix="vafw-") as name, firewall_guest(Path(name), plan) as guest:
        yield Guest(guest, router)


@pytest.fixture
def guest(booted: Guest) -> Guest:
    """With both uplinks up, and no connection but the markers'."""
    booted.silent.clear()
    booted.configure(Ruleset((MARKER,), Action.DROP, nat=NAT))
    booted.configure(RULES)
    booted.wait_until_up_are(True, True)
    return booted


def sent(port: int, to: int, flags: str = "S", seq: int = 1, data: bytes = b"") -> Any:
    return IP(src=USER, dst=SERVER) / TCP(sport=port, dport=to, flags=flags, seq=seq, ack=int(flags != "S")) / Raw(data)


def reply(card: str, port: int, of: int, source: str = SERVER) -> Any:
    return IP(src=source, dst=OWN[card]) / TCP(sport=of, dport=port, flags="SA", seq=0, ack=2)


def knock(card: str, source: str, port: int, to: int = 2222) -> Any:
    return IP(src=source, dst=OWN[card]) / TCP(sport=port, dport=to, flags="S", seq=1)


def came(seen: Seen) -> list[tuple[str, str, str]]:
    return [(card, packet.src, packet.dst) for card, packet in seen]


def test_what_a_rule_marks_leaves_by_the_second_and_all_else_by_the_first(guest: Guest) -> None:
    assert came(guest.feed(INSIDE, sent(4000, 443))) == [(FIRST, OWN[FIRST], SERVER)]
    assert came(guest.feed(INSIDE, sent(4000, 873))) == [(SECOND, OWN[SECOND], SERVER)]


def test_a_host_of_the_second_network_is_reached_by_its_own_card_with_no_mark(guest: Guest) -> None:
    packet = IP(src=USER, dst="10.1.0.77") / TCP(sport=4001, dport=443, flags="S")
    assert came(guest.feed(INSIDE, packet)) == [(SECOND, OWN[SECOND], "10.1.0.77")]


def test_an_answer_comes_in_by_the_card_that_the_connection_left_by_and_by_no_other(guest: Guest) -> None:
    guest.feed(INSIDE, sent(4002, 873))
    assert guest.feed(FIRST, reply(SECOND, 4002, 873)) == []
    assert came(guest.feed(SECOND, reply(SECOND, 4002, 873))) == [(INSIDE, SERVER, USER)]


@pytest.mark.parametrize("card", [FIRST, SECOND])
def test_a_stranger_may_knock_at_either_card_and_is_answered_by_the_same(guest: Guest, card: str) -> None:
    assert came(guest.feed(card, knock(card, STRANGER, 5000))) == [(INSIDE, STRANGER, USER)]
    answer = IP(src=USER, dst=STRANGER) / TCP(sport=22, dport=5000, flags="SA", seq=0, ack=2)
    assert came(guest.feed(INSIDE, answer)) == [(card, OWN[card], STRANGER)]


@pytest.mark.parametrize("card", [FIRST, SECOND])
def test_a_refusal_goes_back_by_the_card_that_was_knocked_at(guest: Guest, card: str) -> None:
    ((left_by, packet),) = guest.feed(card, knock(card, STRANGER, 5001, to=8080))
    assert (left_by, packet.src, packet.dst) == (card, OWN[card], STRANGER)
    assert "R" in str(packet[TCP].flags)


@pytest.mark.parametrize(
    ("card", "source"),
    [(FIRST, "10.1.0.77"), (SECOND, "10.0.0.77"), (SECOND, USER), (SECOND, OWN[SECOND]), (SECOND, OWN[FIRST])],
)
def test_a_source_that_another_link_holds_or_that_is_the_routers_own_is_dropped(
    guest: Guest, card: str, source: str
) -> None:
    assert guest.feed(card, knock(card, source, 5002)) == []


def test_a_source_from_inside_that_is_not_of_the_inside_leaves_by_no_card(guest: Guest) -> None:
    assert guest.feed(INSIDE, IP(src=STRANGER, dst=SERVER) / TCP(sport=4003, dport=443, flags="S")) == []


def test_without_the_first_all_begins_anew_by_the_second_and_what_was_there_goes_on(guest: Guest) -> None:
    assert came(guest.feed(INSIDE, sent(4010, 443))) == [(FIRST, OWN[FIRST], SERVER)]
    assert came(guest.feed(INSIDE, sent(4011, 873))) == [(SECOND, OWN[SECOND], SERVER)]
    guest.silent.add(FIRST)
    guest.wait_until_up_are(False, True)
    assert came(guest.feed(INSIDE, sent(4010, 443))) == [(SECOND, OWN[SECOND], SERVER)]
    assert came(guest.feed(SECOND, reply(SECOND, 4011, 873))) == [(INSIDE, SERVER, USER)]
    guest.silent.clear()
    guest.wait_until_up_are(True, True)
    assert came(guest.feed(INSIDE, sent(4012, 443))) == [(FIRST, OWN[FIRST], SERVER)]
    assert came(guest.feed(INSIDE, sent(4011, 873, "A", 2))) == [(SECOND, OWN[SECOND], SERVER)]
    assert came(guest.feed(INSIDE, sent(4010, 443))) == [(SECOND, OWN[SECOND], SERVER)]


def test_without_the_second_what_is_marked_goes_by_the_first(guest: Guest) -> None:
    guest.silent.add(SECOND)
    guest.wait_until_up_are(True, False)
    assert came(guest.feed(INSIDE, sent(4020, 873))) == [(FIRST, OWN[FIRST], SERVER)]
