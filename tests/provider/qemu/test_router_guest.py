"""The firewall guest as a router: held against the model's program frame by frame, its flow table, changed rules."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from tests.contract.benches import require_guests
from tests.provider.qemu.guest_router import GuestRouter, guest_router
from tests.provider.qemu.odd_frames import ROUTER, odd_frames
from tests.provider.qemu.router_comparison import ROUTER_MAC, compare
from tests.traffic.random_policy import EVERYTHING, MARKER, policies
from tests.traffic.random_traffic import random_traffic
from tests.traffic.test_against_nftables import CAPTURES, OFFICE, USER_MAC
from vafw.machine.report import Health
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.packet import TCP as TCP_NUMBER
from vafw.traffic.packet import UDP as UDP_NUMBER
from vafw.traffic.pcap import read_capture
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES

POLICIES = 25
PACKETS_EACH = 60
HIDDEN = AddressSet.from_texts(["10.1.0.0/24", "2001:db8:1::/64"])
ANY = (Selector(None, EVERYTHING),)
USER = (Selector(INSIDE, EVERYTHING),)
HOST = int(ip_address("10.1.0.2"))
FORWARDS = (
    PortForward("shell", TCP_NUMBER, (2222, 2222), 4, HOST, 22),
    PortForward("names", UDP_NUMBER, (5300, 5310), 4, HOST, 53),
)
TRANSLATING = Ruleset((MARKER, Rule("all", ANY, ANY, (), Action.ACCEPT)), Action.DROP, nat=Nat(HIDDEN, FORWARDS))
PLAIN = replace(TRANSLATING, nat=Nat())
OUTWARDS = Ruleset((MARKER, Rule("out", USER, ANY, (), Action.ACCEPT)), Action.REJECT, HIDDEN)
WEB = Ruleset(
    (
        MARKER,
        Rule("web", USER, ANY, SERVICES["https"], Action.ACCEPT),
        Rule("names", USER, ANY, SERVICES["dns"], Action.ACCEPT),
    ),
    Action.DROP,
    nat=Nat(HIDDEN),
)
NO_WEB = replace(WEB, rules=(MARKER, WEB.rules[2]))
USERS = AddressSet.from_texts(["10.0.0.2", "2001:db8:a::2"])
OFFICE_HIDDEN = replace(OFFICE, inside=USERS.union(HIDDEN), nat=Nat(USERS))
OFFICE_ROUTER = {
    **ROUTER,
    INSIDE: {"addresses": ["10.0.0.3/31", "2001:db8:a::3/127", *ROUTER[INSIDE]["addresses"]]},
}
"""One whose inside has the user of the captures; all that the user speaks to is outside."""
LONGEST = 1514
CAPTURED = 4000
"""Frames of a capture at most."""
OUT, BACK = IP(src="10.1.0.2", dst="203.0.113.5"), IP(src="203.0.113.5", dst="198.18.2.1")


@pytest.fixture(scope="module")
def guest() -> Iterator[GuestRouter]:
    require_guests()
    with tempfile.TemporaryDirectory(prefix="vafw-") as name, guest_router(Path(name), ROUTER) as made:
        yield made


class Stream:
    """A TCP connection from inside, kept going by hand."""

    def __init__(self, guest: GuestRouter, port: int) -> None:
        self._guest, self._port = guest, port
        self._said = {INSIDE: 1, OUTSIDE: 1}

    def open(self) -> Stream:
        """Shake hands; each packet passes."""
        assert [self._passes(side, flags) for side, flags in ((INSIDE, "S"), (OUTSIDE, "SA"), (INSIDE, "A"))] == [1] * 3
        return self

    def passes(self, side: str) -> int:
        """How many packets come out for some data that goes in."""
        return self._passes(side, "PA", b"data")

    def _passes(self, side: str, flags: str, data: bytes = b"") -> int:
        ports = {"sport": self._port, "dport": 443} if side == INSIDE else {"sport": 443, "dport": self._port}
        other = OUTSIDE if side == INSIDE else INSIDE
        acknowledged = 0 if flags == "S" else self._said[other]
        segment = TCP(flags=flags, seq=self._said[side], ack=acknowledged, **ports)
        seen = self._guest.feed(
            side, self._guest.frame(side, bytes((OUT if side == INSIDE else BACK) / segment / Raw(data)))
        )
        self._said[side] += len(data) + ("S" in flags)
        return len(seen[other])


def offloaded(guest: GuestRouter) -> int:
    found: int = guest.report()["flowtable"]["offloaded"]
    return found


def test_it_says_what_enforces_and_that_it_is_up(guest: GuestRouter) -> None:
    assert guest.configure(WEB) == Health(True, "nftables holds 3 rules, policy drop, and the router is up")
    assert guest.report()["enforced-by"] == "nftables"


def test_random_policies_are_carried_out_as_the_models_program_carries_them_out(guest: GuestRouter) -> None:
    packets = passed = 0

    @settings(
        max_examples=POLICIES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(policies(), st.integers(0, 2**32))
    def carried_out_alike(ruleset: Ruleset, seed: int) -> None:
        nonlocal packets, passed
        result = compare(guest, ruleset, random_traffic(seed, conversations=8, packets=PACKETS_EACH))
        assert result.found == []
        packets, passed = packets + result.packets, passed + result.passed

    carried_out_alike()
    assert packets >= POLICIES * PACKETS_EACH // 2
    assert passed >= packets // 20


@pytest.mark.parametrize(("seed", "ruleset"), [(0, TRANSLATING), (1, PLAIN), (2, OUTWARDS)])
def test_what_a_router_must_know_by_itself_it_does_as_the_model_does(
    guest: GuestRouter, seed: int, ruleset: Ruleset
) -> None:
    result = compare(guest, ruleset, odd_frames(seed, 600))
    assert result.found == []
    assert result.packets > 500
    assert result.passed > 20
    assert result.answered > 20


def test_the_flow_table_carries_an_established_stream_and_its_rule_counts_its_first_packet(guest: GuestRouter) -> None:
    assert guest.configure(replace(WEB, offload=True)).healthy
    stream = Stream(guest, 4000).open()
    assert [stream.passes(side) for side in (INSIDE, OUTSIDE, INSIDE, OUTSIDE)] == [1] * 4
    assert offloaded(guest) == 1
    rules = guest.report()["rules"]
    assert rules["web"]["packets"] == 1
    assert rules["(established)"]["packets"] == 2  # two of the handshake, the second of which made it a flow
    assert [stream.passes(side) for side in (INSIDE, OUTSIDE)] == [1, 1]
    assert guest.report()["rules"]["(established)"]["packets"] == 2


def test_a_stream_in_the_flow_table_goes_on_where_the_new_rules_accept_it(guest: GuestRouter) -> None:
    assert guest.configure(replace(WEB, offload=True)).healthy
    stream = Stream(guest, 4001).open()
    assert stream.passes(OUTSIDE) == 1
    assert guest.configure(replace(WEB, rules=WEB.rules[:2], offload=True)).healthy
    assert [stream.passes(side) for side in (OUTSIDE, INSIDE)] == [1, 1]
    assert offloaded(guest) >= 1


def test_a_stream_in_the_flow_table_ends_where_the_new_rules_deny_it(guest: GuestRouter) -> None:
    assert guest.configure(replace(WEB, offload=True)).healthy
    stream = Stream(guest, 4002).open()
    assert stream.passes(OUTSIDE) == 1
    assert offloaded(guest) >= 1
    assert guest.configure(replace(NO_WEB, offload=True)).healthy
    assert offloaded(guest) == 0
    assert [stream.passes(side) for side in (OUTSIDE, INSIDE)] == [0, 0]


def test_without_a_flow_table_a_stream_ends_where_the_new_rules_deny_it(guest: GuestRouter) -> None:
    assert guest.configure(WEB).healthy
    stream = Stream(guest, 4003).open()
    assert guest.configure(NO_WEB).healthy
    assert [stream.passes(side) for side in (OUTSIDE, INSIDE)] == [0, 0]


def test_a_udp_conversation_that_the_new_rules_accept_goes_on_with_the_port_it_had(guest: GuestRouter) -> None:
    asked, answered = OUT / UDP(sport=5000, dport=53), BACK / UDP(sport=53, dport=5000)
    assert guest.configure(WEB).healthy
    assert len(guest.feed(INSIDE, guest.frame(INSIDE, bytes(asked)))[OUTSIDE]) == 1
    assert guest.configure(NO_WEB).healthy
    assert len(guest.feed(OUTSIDE, guest.frame(OUTSIDE, bytes(answered)))[INSIDE]) == 1


def test_another_router_while_it_runs_is_refused_and_changes_nothing(guest: GuestRouter) -> None:
    assert guest.configure(WEB).healthy
    before, moved = dict(guest.router), {**guest.router, "inside": {**_link(guest), "addresses": ["10.2.0.1/24"]}}
    guest.router = moved
    health = guest.configure(NO_WEB)
    guest.router = before
    assert health == Health(False, "the ruleset cannot be read: router must stay as it was when the guest began")
    assert Stream(guest, 4004).open().passes(OUTSIDE) == 1


def test_rules_that_the_kernel_refuses_change_nothing(guest: GuestRouter) -> None:
    assert guest.configure(WEB).healthy
    tagged = replace(WEB.rules[1], vlans=((5, 5),))
    health = guest.configure(replace(WEB, rules=(MARKER, tagged)))
    assert health.reason == (
        "the ruleset cannot be read: a router has one interface for each VLAN; rules about VLANs are for a bridge"
    )
    assert Stream(guest, 4005).open().passes(OUTSIDE) == 1


@pytest.mark.parametrize("capture", [each for each in CAPTURES if each.exists()], ids=lambda each: str(each.name))
def test_captured_traffic_is_hidden_as_the_models_program_hides_it(capture: Path) -> None:
    require_guests()
    frames = [each.data for each in read_capture(capture) if len(each.data) <= LONGEST][:CAPTURED]
    traffic = [
        (INSIDE if each[6:12] == USER_MAC else OUTSIDE, (each[:6] if each[0] & 1 else ROUTER_MAC) + each[6:])
        for each in frames
    ]
    with tempfile.TemporaryDirectory(prefix="vafw-") as name, guest_router(Path(name), OFFICE_ROUTER) as made:
        result = compare(made, OFFICE_HIDDEN, traffic)
    assert result.found == []
    assert result.packets > len(traffic) * 0.7
    assert result.passed > len(traffic) * 0.3


def _link(guest: GuestRouter) -> dict[str, Any]:
    link: Any = guest.router["inside"]
    return dict(link)
