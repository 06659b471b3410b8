"""The routes of a router with several uplinks as they come and go, and who counts as having answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_interface

import pytest

from vafw.provider.qemu.guest.routing import guard_text
from vafw.provider.qemu.guest.uplinks import WaysOut, told_by
from vafw.traffic import build
from vafw.traffic.frame import Frame, parse
from vafw.traffic.routed import Link, Links

ROUTER, GATEWAY = bytes.fromhex("525400aa0001"), bytes.fromhex("525400bb0001")


def link(addresses: Iterable[str], gateways: Iterable[str] = ()) -> Link:
    hops = tuple((each.version, int(each)) for each in map(ip_address, gateways))
    return Link(ROUTER, tuple(map(ip_interface, addresses)), hops)


FIRST = link(["10.0.0.2/24", "2001:db8:a::2/64"], ["10.0.0.1", "2001:db8:a::1"])
SECOND = link(["10.1.0.2/24"], ["10.1.0.1"])
THIRD = link(["10.2.0.2/24", "2001:db8:c::2/64"], ["10.2.0.1", "2001:db8:c::1"])
LINKS = Links(FIRST, link(["192.168.88.1/24"]), (SECOND, THIRD))


def up(*numbers: int) -> Callable[[int], bool]:
    return lambda number: number in numbers


def written(words: Iterable[tuple[str, ...]]) -> list[str]:
    return [" ".join(each) for each in words]


def test_at_first_all_goes_by_the_first_and_marks_lead_by_the_others() -> None:
    assert written(WaysOut(LINKS).begin()) == [
        "-4 rule add pref 100 lookup main suppress_prefixlength 0",
        "-6 rule add pref 100 lookup main suppress_prefixlength 0",
        "-4 route add default via 10.1.0.1 dev outside-2 table 102",
        "-4 route add default via 10.2.0.1 dev outside-3 table 103",
        "-6 route add default via 2001:db8:c::1 dev outside-3 table 103",
        "-4 route replace default via 10.0.0.1 dev outside",
        "-6 route replace default via 2001:db8:a::1 dev outside",
        "-4 rule add pref 202 fwmark 0x2 lookup 102",
        "-4 rule add pref 203 fwmark 0x3 lookup 103",
        "-6 rule add pref 203 fwmark 0x3 lookup 103",
    ]


def test_without_the_first_each_version_goes_by_the_next_that_leads_anywhere_in_it() -> None:
    ways = WaysOut(LINKS)
    list(ways.begin())
    assert written(ways.change(up(1, 2))) == [
        "-4 route replace default via 10.1.0.1 dev outside-2",
        "-6 route replace default via 2001:db8:c::1 dev outside-3",
    ]
    assert written(ways.change(up(0, 1, 2))) == [
        "-4 route replace default via 10.0.0.1 dev outside",
        "-6 route replace default via 2001:db8:a::1 dev outside",
    ]


def test_what_is_marked_for_an_uplink_that_is_down_goes_as_if_it_had_no_mark() -> None:
    ways = WaysOut(LINKS)
    list(ways.begin())
    assert written(ways.change(up(0, 1))) == ["-4 rule del pref 203", "-6 rule del pref 203"]
    assert written(ways.change(up(0, 1))) == []
    assert written(ways.change(up(0, 1, 2))) == [
        "-4 rule add pref 203 fwmark 0x3 lookup 103",
        "-6 rule add pref 203 fwmark 0x3 lookup 103",
    ]


def test_where_none_is_up_all_goes_by_the_first_of_them() -> None:
    ways = WaysOut(LINKS)
    list(ways.begin())
    assert written(ways.change(up())) == ["-4 rule del pref 202", "-4 rule del pref 203", "-6 rule del pref 203"]


def test_the_guard_lets_a_source_in_by_the_card_whose_network_holds_it_and_others_by_any_uplink() -> None:
    lines = [line.strip().removesuffix(' comment "(spoofed)"') for line in guard_text(LINKS).splitlines()]
    assert [line for line in lines if "saddr" in line and "169.254" not in line and "fe80" not in line] == [
        "ip saddr { 10.0.0.2, 10.1.0.2, 10.2.0.2, 192.168.88.1 } counter drop",
        'iifname != "inside" ip saddr 192.168.88.0-192.168.88.255 counter drop',
        'iifname "inside" ip saddr != 192.168.88.0-192.168.88.255 counter drop',
        'iifname != "outside" ip saddr 10.0.0.0-10.0.0.255 counter drop',
        'iifname != "outside-2" ip saddr 10.1.0.0-10.1.0.255 counter drop',
        'iifname != "outside-3" ip saddr 10.2.0.0-10.2.0.255 counter drop',
        "ip6 saddr { 2001:db8:a::2, 2001:db8:c::2 } counter drop",
        'iifname != "outside" ip6 saddr 2001:db8:a::-2001:db8:a:0:ffff:ffff:ffff:ffff counter drop',
        'iifname != "outside-3" ip6 saddr 2001:db8:c::-2001:db8:c:0:ffff:ffff:ffff:ffff counter drop',
    ]
    assert 'iifname "inside" meta nfproto ipv6 counter drop' in lines
    assert 'iifname != { "outside-2", "inside" } ip daddr { 10.1.0.2 } counter drop' in lines
    assert [line for line in lines if "mark set" in line] == [
        'iifname "outside-2" meta mark set 0x2',
        'iifname "outside-3" meta mark set 0x3',
    ]
    assert "fib" not in guard_text(LINKS)


def test_a_router_with_one_uplink_asks_the_kernels_routes_where_a_source_leads() -> None:
    assert "fib saddr . iif oif missing counter drop" in guard_text(Links(FIRST, LINKS.inside))


def asked(version: int) -> tuple[bytes, Frame]:
    source, target = (next(each for of, each in FIRST.own() if of == version), dict(FIRST.gateways)[version])
    ask = build.arp_request if version == 4 else build.neighbour_solicitation
    frame = ask(ROUTER, source, target)
    packet = parse(frame)
    assert isinstance(packet, Frame)
    return frame, packet


ARP_ANSWER = build.arp_reply(*asked(4), GATEWAY)
ND_ANSWER = build.neighbour_advertisement(*asked(6), GATEWAY)


@pytest.mark.parametrize(("frame", "version"), [(ARP_ANSWER, 4), (ND_ANSWER, 6)])
def test_a_next_hop_that_says_its_address_has_answered(frame: bytes, version: int) -> None:
    assert told_by(frame) == (version, dict(FIRST.gateways)[version])


@pytest.mark.parametrize(
    "frame",
    [
        ND_ANSWER[:21] + b"\xfe" + ND_ANSWER[22:],
        ND_ANSWER[:-1] + bytes([ND_ANSWER[-1] ^ 1]),
        ARP_ANSWER[:12] + b"\x81\x00\x00\x00" + ARP_ANSWER[12:],
        ARP_ANSWER[:20],
        b"",
    ],
    ids=["from afar", "wrong checksum", "tagged", "cut short", "empty"],
)
def test_what_is_no_answer_as_it_must_be_tells_of_nobody(frame: bytes) -> None:
    assert told_by(frame) is None
