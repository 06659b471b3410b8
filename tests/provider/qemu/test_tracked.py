"""What becomes of a kernel's tracked connections when rules change, in a network namespace of this host's kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw

from tests.traffic.differential import OWN
from tests.traffic.kernel_router import MARKER_PORT, ROUTER, KernelRouter, inside_namespace, kernel_router, missing
from tests.traffic.random_policy import MARKER
from vafw.provider.qemu.guest.tracked import SideOf, forget_denied, tracked_connections
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.packet import TCP as TCP_NUMBER
from vafw.traffic.packet import ServiceMatch
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
USER = (Selector(INSIDE, AddressSet.everything()),)
ANY = (Selector(None, AddressSet.everything()),)
INSIDE_NETWORKS = AddressSet.from_texts(["10.1.0.0/24", "2001:db8:1::/64"])
HOST = (Selector(INSIDE, AddressSet.from_texts(["10.1.0.2"])),)
SHELL = PortForward("shell-outside", TCP_NUMBER, (2222, 2222), 4, 0x0A010002, 22)
ACCEPTED = {
    name: Rule(name, USER, ANY, services, Action.ACCEPT)
    for name, services in {
        "web": SERVICES["https"],
        "names": SERVICES["dns"],
        "ping": SERVICES["ping"],
        "gre": (ServiceMatch(47),),
    }.items()
} | {"shell": Rule("shell", ANY, HOST, SERVICES["ssh"], Action.ACCEPT)}
"""Each lets one kind of connection through."""
RULES = Ruleset((MARKER, *ACCEPTED.values()), Action.DROP, INSIDE_NETWORKS, Nat(INSIDE_NETWORKS, (SHELL,)))
TRAFFIC: dict[str, tuple[str, Any]] = {
    "web": (INSIDE, IP(src="10.1.0.2", dst="203.0.113.5") / TCP(sport=4000, dport=443, flags="S", seq=1)),
    "names": (INSIDE, IPv6(src="2001:db8:1::2", dst="2001:db8:ffff::5") / UDP(sport=4000, dport=53)),
    "ping": (INSIDE, IP(src="10.1.0.3", dst="203.0.113.9") / ICMP(type=8, id=9)),
    "ping-six": (INSIDE, IPv6(src="2001:db8:1::3", dst="2001:db8:ffff::5") / ICMPv6EchoRequest(id=9)),
    "gre": (INSIDE, IP(src="10.1.0.2", dst="203.0.113.5") / GRE() / Raw(bytes(36))),
    "shell": (OUTSIDE, IP(src="203.0.113.5", dst="198.18.2.1") / TCP(sport=5000, dport=2222, flags="S", seq=1)),
}


@pytest.fixture(scope="module")
def router() -> Iterator[KernelRouter]:
    nothing = nftables_text(Ruleset((MARKER,), Action.DROP), inside="in0", outside="out0")
    with kernel_router(nothing, inside=("10.1.0.0/24", "2001:db8:1::/64")) as found:
        yield found


def side_of(host: tuple[int, int]) -> str:
    return INSIDE if INSIDE_NETWORKS.contains(*host) else OUTSIDE


def left_after(router: KernelRouter, ruleset: Ruleset, side: SideOf | None = side_of) -> set[str]:
    """Which connections of `TRAFFIC` a change to these rules leaves."""
    router.load(nftables_text(RULES, inside="in0", outside="out0", own=OWN))
    for came_from, packet in TRAFFIC.values():
        assert len(router.feed(came_from, bytes(ETHER / packet))) == 1
    with inside_namespace(ROUTER):
        before = len(tracked_connections())
        forgotten = forget_denied(ruleset, own=OWN, side_of=side)
        left = tracked_connections()
    assert forgotten + len(left) == before
    originals = [each.original for each in left if each.original and each.original[5] != MARKER_PORT]
    names = {
        (6, 443): "web", (17, 53): "names", (1, 8 << 8): "ping", (58, 128 << 8): "ping-six", (47, 0): "gre",
        (6, 2222): "shell",
    }  # fmt: skip
    return {names[each[1] & 0xFF, each[5]] for each in originals}


def test_under_the_same_rules_all_of_them_stay(router: KernelRouter) -> None:
    assert left_after(router, RULES) == set(TRAFFIC)


@pytest.mark.parametrize("gone", ["web", "names", "gre", "shell"])
def test_a_connection_whose_rule_is_gone_goes_and_the_others_stay(router: KernelRouter, gone: str) -> None:
    rules = tuple(each for each in RULES.rules if each.name != gone)
    assert left_after(router, replace(RULES, rules=rules)) == set(TRAFFIC) - {gone}


def test_a_rule_before_the_one_that_accepted_a_connection_ends_it(router: KernelRouter) -> None:
    closed = Rule("closed", ANY, HOST, (), Action.REJECT)
    assert left_after(router, replace(RULES, rules=(MARKER, closed, *RULES.rules[1:]))) == set(TRAFFIC) - {"shell"}


def test_a_source_that_the_inside_may_not_use_any_more_has_no_connections(router: KernelRouter) -> None:
    inside = AddressSet.from_texts(["10.1.0.2", "10.1.0.250", "2001:db8:1::/64"])
    assert left_after(router, replace(RULES, inside=inside)) == set(TRAFFIC) - {"ping"}


def test_where_the_side_is_not_known_only_what_both_sides_may_do_stays(router: KernelRouter) -> None:
    names = Rule("names-anywhere", ANY, ANY, SERVICES["dns"], Action.ACCEPT)
    rules = replace(RULES, rules=(*RULES.rules, names), inside=None)
    assert left_after(router, rules, side=None) == {"names"}


def test_where_a_rule_speaks_of_vlans_which_the_kernel_does_not_remember_none_stays(router: KernelRouter) -> None:
    tagged = Rule("tagged", USER, ANY, (), Action.ACCEPT, vlans=((5, 5),))
    assert left_after(router, replace(RULES, rules=(*RULES.rules, tagged))) == set()
