from __future__ import annotations

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from vafw.traffic import build
from vafw.traffic.frame import Frame, parse

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
MAC = bytes.fromhex("020000000009")


def parsed(packet: Packet) -> tuple[bytes, Frame]:
    data = bytes(packet)
    found = parse(data)
    assert isinstance(found, Frame)
    return data, found


def with_right_checksums(data: bytes) -> Ether:
    """The frame as scapy reads it, once scapy has agreed with every checksum in it."""
    packet = Ether(data)
    again = packet.copy()
    for layer in (IP, TCP, UDP, ICMP):
        if layer in again:
            del again[layer].chksum
    for layer in (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6ND_NA, ICMPv6ND_NS):
        if layer in again:
            del again[layer].cksum
    assert bytes(again) == data
    return packet


def test_a_rst_answers_a_syn() -> None:
    syn = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1, dport=2, seq=7, flags="S")
    answer = build.reset(*parsed(syn))
    assert answer is not None
    segment = with_right_checksums(answer)[TCP]
    assert (segment.sport, segment.dport, segment.flags, segment.seq, segment.ack) == (2, 1, "RA", 0, 8)


def test_a_rst_answers_an_acknowledgement_with_its_number() -> None:
    sent = ETHER / IPv6(src="fd00::1", dst="fd00::2") / TCP(seq=7, ack=99, flags="A")
    answer = build.reset(*parsed(sent))
    assert answer is not None
    assert (with_right_checksums(answer)[TCP].seq, Ether(answer)[TCP].flags) == (99, "R")


def test_a_segment_that_acknowledges_nothing_is_refused_from_zero_whatever_its_field_says() -> None:
    answer = build.reset(*parsed(ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / TCP(flags="S", seq=7, ack=99)))
    assert answer is not None
    refused = Ether(answer)[TCP]
    assert (str(refused.flags), refused.seq, refused.ack) == ("RA", 0, 8)


def test_no_rst_answers_a_rst() -> None:
    assert build.reset(*parsed(ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / TCP(flags="R"))) is None


def test_an_icmp_error_quotes_the_packet_and_keeps_the_tag() -> None:
    sent = ETHER / Dot1Q(vlan=9) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5, dport=6) / Raw(bytes(900))
    answer = build.unreachable(*parsed(sent))
    assert answer is not None
    error = with_right_checksums(answer)
    assert (error[Dot1Q].vlan, error[IP].src, error[ICMP].type, error[ICMP].code) == (9, "10.0.0.2", 3, 13)
    assert error[IPerror].dst == "10.0.0.2"
    assert len(error[IP]) == 576


def test_an_icmpv6_error_says_administratively_prohibited() -> None:
    answer = build.unreachable(*parsed(ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP()))
    assert answer is not None
    assert with_right_checksums(answer)[ICMPv6DestUnreach].code == 1


def test_no_error_answers_an_error() -> None:
    assert build.unreachable(*parsed(ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / ICMP(type=3) / Raw(bytes(28)))) is None


def test_echo_replies_carry_the_same_data() -> None:
    v4 = build.echo_reply(*parsed(ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / ICMP(id=3, seq=4) / Raw(b"abc")))
    v6 = build.echo_reply(
        *parsed(ETHER / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(id=3, seq=4, data=b"abc"))
    )
    assert (with_right_checksums(v4)[ICMP].id, Ether(v4)[ICMP].type, Ether(v4)[Raw].load) == (3, 0, b"abc")
    assert with_right_checksums(v6)[ICMPv6EchoReply].data == b"abc"


def test_an_arp_reply_tells_the_mac() -> None:
    reply = Ether(build.arp_reply(*parsed(ETHER / ARP(pdst="10.0.0.2", psrc="10.0.0.1")), MAC))
    assert (reply[ARP].op, reply[ARP].psrc, reply[ARP].hwsrc) == (2, "10.0.0.2", "02:00:00:00:00:09")


def test_a_neighbour_advertisement_answers_a_solicitation() -> None:
    asked = build.neighbour_solicitation(MAC, 0xFD00 << 112 | 1, 0xFD00 << 112 | 2)
    assert with_right_checksums(asked)[ICMPv6ND_NS].tgt == "fd00::2"
    found = parse(asked)
    assert isinstance(found, Frame)
    answer = with_right_checksums(build.neighbour_advertisement(asked, found, MAC))
    assert (answer[ICMPv6ND_NA].tgt, answer[IPv6].dst, answer[IPv6].hlim) == ("fd00::2", "fd00::1", 255)
