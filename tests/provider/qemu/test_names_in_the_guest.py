"""Host names in the firewall guest's kernel: what a notice opens, for how long, and what passes for none.

DNS filter, and all behind it ──dgram── inside :firewall guest: outside ──dgram── servers
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from tests.contract.benches import require_guests
from tests.provider.qemu.guest_bridge import GuestBridge, guest_bridge
from tests.provider.qemu.guest_router import GuestRouter, guest_router
from tests.provider.qemu.odd_frames import ROUTER
from tests.traffic.random_policy import EVERYTHING, MARKER
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.dns_answer import NamedAddress
from vafw.traffic.name_notice import heard, notices
from vafw.traffic.nat import Nat
from vafw.traffic.rule import Action, Rule, Ruleset, Selector

PUBLIC = AddressSet.from_texts(["203.0.113.0/24", "2001:db8:b::/48"])
USER = (Selector(INSIDE, EVERYTHING),)
SERVER, OTHER = "203.0.113.5", "203.0.113.6"


def ruleset(*patterns: str) -> Ruleset:
    rules = (
        Rule(f"r{at}", USER, (Selector(None, PUBLIC, (each,)),), (), Action.ACCEPT) for at, each in enumerate(patterns)
    )
    return Ruleset((MARKER, *rules), Action.DROP)


BOTH = ruleset("*.example.com", "www.example.org")


def notice(name: str, *addresses: str, ttl_s: int = 300) -> bytes:
    found = map(ip_address, addresses)
    (frame,) = notices(NamedAddress(name, each.version, int(each), ttl_s) for each in found)
    return frame


@pytest.fixture(scope="module")
def booted() -> Iterator[GuestBridge]:
    require_guests()
    with tempfile.TemporaryDirectory(prefix="vafw-") as name, guest_bridge(Path(name)) as made:
        yield made


@pytest.fixture
def guest(booted: GuestBridge) -> GuestBridge:
    """With rules about both names, and nothing known of them."""
    assert booted.configure(ruleset()).healthy
    assert booted.configure(BOTH).healthy
    return booted


def syn(address: str, port: int) -> bytes:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return bytes(ether / IP(src="10.1.0.2", dst=address) / TCP(sport=port, dport=443, flags="S"))


def passes(guest: GuestBridge, address: str, port: int = 4000) -> bool:
    return bool(guest.feed(INSIDE, syn(address, port)))


def hear(guest: GuestBridge, *frames: bytes) -> None:
    """Have it hear notices; it is over when it says that it did."""
    for frame in frames:
        guest.send(INSIDE, frame)
        assert guest.receive(INSIDE) == heard(frame)


def test_a_name_has_no_address_before_an_answer_and_the_answers_after_it(guest: GuestBridge) -> None:
    assert not passes(guest, SERVER)
    hear(guest, notice("www.example.com", SERVER, "2001:db8:b::5"))
    assert [passes(guest, SERVER, 4001), passes(guest, OTHER, 4002)] == [True, False]
    names = guest.report()["names"]
    assert names["www.example.org"] == {"addresses": 0, "for-s": 0}
    assert names["*.example.com"]["addresses"] == 2
    assert 290 <= names["*.example.com"]["for-s"] <= 300


def test_a_short_lived_answer_holds_for_a_minute_and_a_longer_one_prolongs_it(guest: GuestBridge) -> None:
    hear(guest, notice("www.example.com", SERVER, ttl_s=1))
    assert 50 <= guest.report()["names"]["*.example.com"]["for-s"] <= 60
    hear(guest, notice("mail.example.com", SERVER, ttl_s=900))
    assert 890 <= guest.report()["names"]["*.example.com"]["for-s"] <= 900
    assert guest.report()["names"]["*.example.com"]["addresses"] == 1


def test_what_is_known_of_a_name_outlives_a_change_of_rules_that_speak_of_it_too(guest: GuestBridge) -> None:
    hear(guest, notice("www.example.com", SERVER), notice("www.example.org", OTHER))
    assert [passes(guest, SERVER, 4010), passes(guest, OTHER, 4011)] == [True, True]
    assert guest.configure(ruleset("news.example.net", "*.example.com")).healthy
    assert [passes(guest, SERVER, 4012), passes(guest, OTHER, 4013)] == [True, False]


def test_many_notices_in_a_row_are_all_heeded(guest: GuestBridge) -> None:
    frames = [notice(f"h{host}.example.com", f"203.0.113.{host}") for host in range(1, 200)]
    for each in frames:
        guest.send(INSIDE, each)
    assert [guest.receive(INSIDE) for _ in frames] == [heard(each) for each in frames]
    assert guest.report()["names"]["*.example.com"]["addresses"] == 199
    assert guest.report()["notices"]["lost"] == 0


def test_an_address_that_the_rule_does_not_allow_is_none_of_the_name(guest: GuestBridge) -> None:
    hear(guest, notice("www.example.com", "10.1.0.77", SERVER))
    assert guest.report()["names"]["*.example.com"]["addresses"] == 1
    assert not passes(guest, "10.1.0.77")


@pytest.mark.parametrize("tags", ["8100 0000", "8100 0007", "88a8 0000", "88a8 0000 8100 0000", "8100 a000 8100 0000"])
def test_a_notice_behind_a_tag_which_the_dns_filter_lets_through_is_none(guest: GuestBridge, tags: str) -> None:
    before = guest.report()["notices"]
    plain = notice("www.example.com", SERVER)
    assert guest.feed(INSIDE, plain[:12] + bytes.fromhex(tags) + plain[12:]) == []
    after = guest.report()["notices"]
    assert after["read"] == before["read"]
    assert not passes(guest, SERVER)


def test_a_notice_from_the_wire_is_none(guest: GuestBridge) -> None:
    assert guest.feed(OUTSIDE, notice("www.example.com", SERVER)) == []
    assert not passes(guest, SERVER)


def test_a_broken_notice_is_counted_and_nothing_else(guest: GuestBridge) -> None:
    before = guest.report()["notices"]
    assert guest.feed(INSIDE, notice("www.example.com", SERVER)[:-1]) == []
    assert guest.report()["notices"] == {**before, "malformed": before["malformed"] + 1}
    assert not passes(guest, SERVER)


def test_a_notice_to_another_than_the_group_is_not_passed_on_either(guest: GuestBridge) -> None:
    frame = b"\x02\0\0\0\0\x09" + notice("www.example.com", SERVER)[6:]
    assert guest.feed(INSIDE, frame) == []
    assert guest.receive(INSIDE) == heard(frame)


def test_a_router_follows_names_as_a_bridge_does() -> None:
    require_guests()
    hidden = replace(BOTH, nat=Nat(AddressSet.from_texts(["10.1.0.0/24"])))
    with tempfile.TemporaryDirectory(prefix="vafw-") as name, guest_router(Path(name), ROUTER) as guest:
        assert guest.configure(hidden).healthy
        assert _routed(guest, 4000) == 0
        frame = notice("www.example.com", SERVER)
        guest.feed(INSIDE, frame)
        assert guest.report()["names"]["*.example.com"]["addresses"] == 1
        assert _routed(guest, 4001) == 1


def _routed(guest: GuestRouter, port: int) -> int:
    packet = bytes(IP(src="10.1.0.2", dst=SERVER) / TCP(sport=port, dport=443, flags="S"))
    return len(guest.feed(INSIDE, guest.frame(INSIDE, packet))[OUTSIDE])
