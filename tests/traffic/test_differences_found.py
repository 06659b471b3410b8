"""Differences between kernel and engine that `make differential` has found, each with the packets that showed it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.traffic.differential import Comparison, compare
from tests.traffic.kernel_router import KernelRouter, kernel_router, missing
from tests.traffic.random_policy import MARKER
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.condition import Limit
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.rule import TCP as TCP_NUMBER
from vafw.traffic.rule import Action, Rule, Ruleset, Selector, State

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
USER = (Selector(INSIDE, AddressSet.everything()),)
ANY = (Selector(None, AddressSet.everything()),)
OUT = Rule("out", USER, ANY, (), Action.ACCEPT)
HIDDEN = Nat(AddressSet.from_texts(["10.1.0.0/24", "2001:db8:1::/64"]))
HIDING = Ruleset((MARKER, OUT), Action.DROP, nat=HIDDEN)
THERE, BACK = IP(src="10.1.0.2", dst="203.0.113.5", id=1), IP(src="203.0.113.5", dst="198.18.2.1", id=1)
pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


@pytest.fixture(scope="module")
def router() -> Iterator[KernelRouter]:
    nothing = nftables_text(Ruleset((MARKER,), Action.DROP), inside="in0", outside="out0")
    with kernel_router(nothing, inside=("10.1.0.0/24", "2001:db8:1::/64")) as found:
        yield found


def through(router: KernelRouter, ruleset: Ruleset, *packets: tuple[str, Any]) -> Comparison:
    found = compare(router, ruleset, [(side, bytes(ETHER / packet)) for side, packet in packets])
    assert found.found == []
    return found


def test_a_handshake_behind_a_masquerade_leaves_and_comes_back_to_the_byte(router: KernelRouter) -> None:
    found = through(
        router,
        HIDING,
        (INSIDE, THERE / TCP(sport=4000, dport=443, flags="S", seq=1)),
        (OUTSIDE, BACK / TCP(sport=443, dport=4000, flags="SA", seq=9, ack=2)),
        (INSIDE, THERE / TCP(sport=4000, dport=443, flags="A", seq=2, ack=10)),
        (INSIDE, THERE / TCP(sport=4000, dport=443, flags="PA", seq=2, ack=10) / Raw(b"hello")),
    )
    assert (found.packets, found.passed, found.translated) == (4, 4, 4)


def test_an_error_about_a_masqueraded_packet_is_rewritten_as_the_kernel_does(router: KernelRouter) -> None:
    quoted = IP(src="198.18.2.1", dst="203.0.113.5", id=1, ttl=60) / UDP(sport=5000, dport=53) / Raw(b"question")
    error = IP(src="203.0.113.1", dst="198.18.2.1", id=1) / ICMP(type=3, code=1)
    sent = (INSIDE, THERE / UDP(sport=5000, dport=53) / Raw(b"question"))
    assert through(router, HIDING, sent, (OUTSIDE, error / quoted)).translated == 2


def test_a_redirect_about_a_masqueraded_packet_goes_nowhere(router: KernelRouter) -> None:
    quoted = IP(src="198.18.2.1", dst="203.0.113.5", id=1) / UDP(sport=5000, dport=53) / Raw(b"question")
    redirect = IP(src="203.0.113.1", dst="198.18.2.1", id=1) / ICMP(type=5, code=1, gw="203.0.113.9") / quoted
    sent = (INSIDE, THERE / UDP(sport=5000, dport=53) / Raw(b"question"))
    assert through(router, HIDING, sent, (OUTSIDE, redirect)).passed == 1


def test_a_quotation_of_four_bytes_of_a_masqueraded_packet_goes_nowhere(router: KernelRouter) -> None:
    quoted = bytes(IP(src="198.18.2.1", dst="203.0.113.5", id=1) / TCP(sport=4000, dport=53, flags="S"))[:24]
    error = IP(src="203.0.113.1", dst="198.18.2.1", id=1) / ICMP(type=11) / Raw(quoted)
    sent = (INSIDE, THERE / TCP(sport=4000, dport=53, flags="S", seq=1))
    assert through(router, HIDING, sent, (OUTSIDE, error)).passed == 1


def test_a_forwarded_port_is_led_and_answered_to_the_byte(router: KernelRouter) -> None:
    web = PortForward("lead", TCP_NUMBER, (8000, 8010), 4, int.from_bytes(bytes([10, 1, 0, 3]), "big"), 80)
    inwards = Rule("in", ANY, (Selector(INSIDE, AddressSet.from_texts(["10.1.0.3"])),), (), Action.ACCEPT)
    found = through(
        router,
        Ruleset((MARKER, inwards), Action.DROP, nat=Nat(forwards=(web,))),
        (OUTSIDE, IP(src="203.0.113.5", dst="198.18.2.1", id=1) / TCP(sport=4000, dport=8005, flags="S", seq=1)),
        (INSIDE, IP(src="10.1.0.3", dst="203.0.113.5", id=1) / TCP(sport=85, dport=4000, flags="SA", seq=5, ack=2)),
        (OUTSIDE, IP(src="203.0.113.5", dst="198.18.2.1", id=1) / TCP(sport=4000, dport=8011, flags="S", seq=1)),
    )
    assert (found.passed, found.translated) == (2, 2)


def test_a_rejection_of_an_open_connection_ends_it(router: KernelRouter) -> None:
    cut = Rule("cut", ANY, ANY, (), Action.REJECT, states=(State.ESTABLISHED,), limit=Limit(1, "week", 1))
    straight = IP(src="203.0.113.5", dst="10.1.0.2", id=1)
    found = through(
        router,
        Ruleset((MARKER, cut, OUT), Action.DROP),
        (INSIDE, THERE / TCP(sport=4000, dport=443, flags="S", seq=1)),
        (OUTSIDE, straight / TCP(sport=443, dport=4000, flags="SA", seq=9, ack=2)),
        (OUTSIDE, straight / TCP(sport=443, dport=4000, flags="SA", seq=9, ack=2)),
        (INSIDE, THERE / TCP(sport=4000, dport=443, flags="A", seq=2, ack=10)),
    )
    assert found.passed >= 1


@pytest.mark.parametrize(("version", "passed"), [(0, 1), (1, 0), (5, 1)])
def test_the_gre_of_pptp_belongs_to_nothing(router: KernelRouter, version: int, passed: int) -> None:
    packet = IP(src="10.1.0.2", dst="203.0.113.5", id=1, proto=47) / Raw(bytes([0, version, 0x59, 0xB8]) + bytes(36))
    assert through(router, HIDING, (INSIDE, packet)).passed == passed
