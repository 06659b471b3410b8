"""The IP stack of a host, as far as the desktop's tests do not show it: what is bounded, and ICMP errors about TCP."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import pytest

from vafw.traffic import build
from vafw.traffic.frame import ARP, IPV4, IPV6, SYN, Frame, parse
from vafw.traffic.host.icmp_error import IcmpError, icmp_error
from vafw.traffic.host.segment import Ends
from vafw.traffic.host.stack import MOST_NEIGHBOURS, WAITING_LIMIT, Arrival, Stack
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP

MAC, OTHER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
OWN, OWN6 = ip_interface("10.1.0.1/16"), ip_interface("2001:db8:a::1/64")
FAR, FAR6 = (int(ip_address(each)) for each in ("198.51.100.7", "2001:db8:b::7"))


def stack() -> Stack:
    return Stack(MAC, [OWN, ip_interface("10.1.0.2/16"), OWN6], [ip_address("10.1.0.254")])


def parsed(frame: bytes) -> Frame:
    packet = parse(frame)
    assert isinstance(packet, Frame)
    return packet


def arrival(frame: bytes) -> Arrival:
    found = stack().receive(frame)
    assert found is not None
    return found


def answer_of(host: Stack, address: int) -> None:
    """The neighbour says where it is."""
    asked = build.arp_request(MAC, int(OWN.ip), address)
    host.receive(build.arp_reply(asked, parsed(asked), OTHER_MAC))


def test_a_packet_waits_for_its_neighbour_and_goes_when_it_has_answered() -> None:
    host = stack()
    host.send(IPv4Address("10.1.7.7"), UDP, b"12345678")
    assert [parsed(each).ethertype for each in host.outbox] == [ARP]
    host.outbox.clear()
    answer_of(host, int(IPv4Address("10.1.7.7")))
    assert [each[:6] for each in host.outbox] == [OTHER_MAC]


def test_a_neighbour_with_the_mac_address_of_a_group_is_not_believed() -> None:
    host = stack()
    host.send(IPv4Address("10.1.7.7"), UDP, b"12345678")
    host.outbox.clear()
    asked = build.arp_request(MAC, int(OWN.ip), int(IPv4Address("10.1.7.7")))
    host.receive(build.arp_reply(asked, parsed(asked), b"\xff" * 6))
    assert host.outbox == []


def test_sources_that_are_forged_make_it_remember_no_more_than_its_limits() -> None:
    host = stack()
    for number in range(2 * MOST_NEIGHBOURS):
        for _ in range(2 * WAITING_LIMIT):
            host.send(IPv4Address(int(IPv4Address("10.1.1.0")) + number), UDP, b"12345678")
    assert len(host._waiting) == MOST_NEIGHBOURS
    assert {len(each) for each in host._waiting.values()} == {WAITING_LIMIT}
    for number in range(2 * MOST_NEIGHBOURS):
        address = int(IPv4Address("10.1.1.0")) + number
        host.send(IPv4Address(address), UDP, b"12345678")
        answer_of(host, address)
    assert len(host._neighbours) == MOST_NEIGHBOURS


def test_a_packet_may_be_sent_from_another_of_its_addresses() -> None:
    host = stack()
    host.send(IPv4Address("10.1.0.254"), 99, b"12345678", IPv4Address("10.1.0.2"))
    answer_of(host, int(IPv4Address("10.1.0.254")))
    assert parsed(host.outbox[-1]).source == int(IPv4Address("10.1.0.2"))


def segment(version: int) -> bytes:
    """A SYN of ours to the far host."""
    own, far = (int(OWN.ip), FAR) if version == 4 else (int(OWN6.ip), FAR6)
    carried = build.tcp(own, far, 50_000, 443, sequence=1, flags=SYN)
    return (build.ipv4 if version == 4 else build.ipv6)(own, far, TCP, carried)


def told(version: int, kind: int, code: int, size: int, quoted: bytes) -> bytes:
    """An ICMP error from a router on the way."""
    if version == 4:
        router = int(IPv4Address("203.0.113.1"))
        body = build.ipv4(router, int(OWN.ip), ICMP, build.icmp(kind, code, size.to_bytes(4, "big") + quoted))
        return build.ethernet(MAC, OTHER_MAC, IPV4, body)
    router, own = int(IPv6Address("2001:db8:c::1")), int(OWN6.ip)
    message = build.icmpv6(router, own, kind, code, size.to_bytes(4, "big") + quoted)
    return build.ethernet(MAC, OTHER_MAC, IPV6, build.ipv6(router, own, ICMPV6, message))


@pytest.mark.parametrize(
    ("version", "kind", "code", "size", "expected"),
    [(4, 3, 1, 0, None), (4, 3, 13, 0, None), (4, 3, 4, 1280, 1280), (6, 1, 1, 0, None), (6, 2, 0, 1400, 1400)],
)
def test_an_icmp_error_about_a_connection_is_read(
    version: int, kind: int, code: int, size: int, expected: int | None
) -> None:
    own, far = (int(OWN.ip), FAR) if version == 4 else (int(OWN6.ip), FAR6)
    error = icmp_error(arrival(told(version, kind, code, size, segment(version))))
    assert error == IcmpError(Ends(version, own, 50_000, far, 443), expected)


@pytest.mark.parametrize(
    ("version", "kind", "quoted"),
    [(4, 11, segment(4)), (4, 3, b""), (4, 3, segment(4)[:22]), (6, 3, segment(6)), (6, 1, segment(6)[:39])],
)
def test_what_says_nothing_of_a_connection_is_none(version: int, kind: int, quoted: bytes) -> None:
    assert icmp_error(arrival(told(version, kind, 0, 0, quoted))) is None
