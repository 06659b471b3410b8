"""The small internet behind the wire, asked by scapy."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from vafw.provider.peer import PAGE, PEER_MAC, Peer, Site
from vafw.traffic import build

USER_MAC = bytes.fromhex("525400aa0001")


def ask(packet: Packet) -> list[Packet]:
    ether = Ether(src="52:54:00:aa:00:01", dst="52:54:00:bb:00:01")
    return [Ether(each) for each in Peer().handle(bytes(ether / packet), 0.0)]


def test_the_gateway_answers_arp() -> None:
    asked = build.arp_request(USER_MAC, int(ip_address("10.0.0.2")), int(ip_address("10.0.0.1")))
    (answer,) = Peer().handle(asked, 0.0)
    assert (Ether(answer)[ARP].hwsrc, Ether(answer).dst) == ("52:54:00:bb:00:01", "52:54:00:aa:00:01")


def test_the_gateway_answers_neighbour_solicitation() -> None:
    asked = build.neighbour_solicitation(USER_MAC, int(ip_address("2001:db8:a::2")), int(ip_address("2001:db8:a::1")))
    (answer,) = Peer().handle(asked, 0.0)
    assert Ether(answer)[ICMPv6ND_NA].tgt == "2001:db8:a::1"


def test_nobody_answers_arp_for_the_user() -> None:
    asked = build.arp_request(USER_MAC, int(ip_address("10.0.0.2")), int(ip_address("10.0.0.2")))
    assert Peer().handle(asked, 0.0) == []


@pytest.mark.parametrize(
    ("name", "kind", "code", "addresses"),
    [
        ("www.example.com", "A", 0, ["198.51.100.10"]),
        ("WWW.Example.COM", "AAAA", 0, ["2001:db8:b::10"]),
        ("news.example.org", "AAAA", 0, []),
        ("no.such.name", "A", 3, []),
    ],
)
def test_names_are_answered(name: str, kind: str, code: int, addresses: list[str]) -> None:
    (answer,) = ask(IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=4000) / DNS(id=7, qd=DNSQR(qname=name, qtype=kind)))
    assert (answer[DNS].id, answer[DNS].rcode, [each.rdata for each in answer[DNS].an or []]) == (7, code, addresses)


def test_only_the_gateways_resolve() -> None:
    question = DNS(id=7, qd=DNSQR(qname="www.example.com"))
    assert ask(IP(src="10.0.0.2", dst="198.51.100.10") / UDP(sport=4000) / question) == []


def test_a_request_is_answered_with_the_whole_page_and_the_end() -> None:
    host = IP(src="10.0.0.2", dst="198.51.100.10")
    (opened,) = ask(host / TCP(sport=4000, dport=80, flags="S", seq=10))
    begun = opened[TCP].seq + 1
    (page,) = ask(host / TCP(sport=4000, dport=80, flags="PA", seq=11, ack=begun) / b"GET")
    assert (str(opened[TCP].flags), opened[TCP].ack) == ("SA", 11)
    assert (str(page[TCP].flags), page[TCP].ack, bytes(page[TCP].payload)) == ("FPA", 14, PAGE)


def test_a_closed_port_is_refused_with_a_reset() -> None:
    (answer,) = ask(IP(src="10.0.0.2", dst="198.51.100.10") / TCP(sport=4000, dport=81, flags="S", seq=10))
    assert (str(answer[TCP].flags), answer[TCP].ack) == ("RA", 11)


def test_hosts_that_are_not_there_are_silent() -> None:
    assert ask(IP(src="10.0.0.2", dst="192.0.2.1") / ICMP()) == []
    assert ask(IPv6(src="2001:db8:a::2", dst="2001:db8:c::1") / TCP(dport=80, flags="S")) == []


def test_a_page_beyond_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="must") as caught:
        Site(pages={80: bytes(60_001)})
    assert str(caught.value) == "an answer must be at most 60000 bytes, not 60001"


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    user, gateway = int(ip_address("10.0.0.2")), int(ip_address("10.0.0.1"))
    question = build.ipv4(user, gateway, 17, build.udp(user, gateway, 4000, 53, data))
    Peer().handle(data, 0.0)
    Peer().handle(PEER_MAC + data, 0.0)
    Peer().handle(build.ethernet(PEER_MAC, USER_MAC, 0x0800, question), 0.0)
