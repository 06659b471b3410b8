from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from vafw.traffic import build
from vafw.traffic.frame import ACK, IPV4, IPV6, SYN, Frame, Malformed, parse, transport_checksum_holds

MAC = b"\x02\0\0\0\0\1"
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = st.integers(1 << 24, 126 << 24)
V6 = st.integers(2, 0xFE << 120)
PORT = st.integers(0, 65535)


def read(data: bytes) -> Frame:
    found = parse(data)
    assert isinstance(found, Frame), found
    return found


def reason(data: bytes) -> str:
    found = parse(data)
    assert isinstance(found, Malformed), found
    return found.reason


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise(data: bytes) -> None:
    assert isinstance(parse(data), Frame | Malformed)


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00\x00\x05\x08\x00\x45"]))
def test_no_bytes_behind_a_likely_start_make_the_parser_raise(data: bytes, start: bytes) -> None:
    assert isinstance(parse(bytes(12) + start + data), Frame | Malformed)


@given(V4, V4, PORT, PORT, st.binary(max_size=300))
def test_a_udp_datagram_is_read_as_it_was_built(
    source: int, destination: int, source_port: int, destination_port: int, data: bytes
) -> None:
    datagram = build.udp(source, destination, source_port, destination_port, data)
    frame = build.ethernet(MAC, MAC, IPV4, build.ipv4(source, destination, 17, datagram))
    found = read(frame)
    assert (found.source, found.destination, found.protocol) == (source, destination, 17)
    assert (found.source_port, found.destination_port) == (source_port, destination_port)
    assert frame[found.payload : found.end] == data
    assert transport_checksum_holds(frame, found)


@given(V6, V6, st.tuples(PORT, PORT), st.integers(0, 2**32 - 1), st.binary(max_size=99))
def test_a_tcp_segment_over_ipv6_is_read_as_it_was_built(
    source: int, destination: int, ports: tuple[int, int], sequence: int, data: bytes
) -> None:
    segment = build.tcp(source, destination, *ports, sequence=sequence, flags=SYN | ACK, data=data)
    frame = build.ethernet(MAC, MAC, IPV6, build.ipv6(source, destination, 6, segment), vlans=(5, 7))
    found = read(frame)
    assert (found.source, found.destination, found.vlans) == (source, destination, (5, 7))
    assert (found.source_port, found.destination_port, found.sequence) == (*ports, sequence)
    assert found.flags == SYN | ACK
    assert frame[found.payload : found.end] == data
    assert transport_checksum_holds(frame, found)


def test_padding_behind_the_datagram_is_left_out() -> None:
    frame = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / Raw(b"x")) + bytes(20)
    found = read(frame)
    assert frame[found.payload : found.end] == b"x"


def test_extension_headers_are_skipped() -> None:
    packet = IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop() / UDP(sport=1, dport=2)
    assert read(bytes(ETHER / packet)).destination_port == 2


def test_a_later_fragment_has_no_ports() -> None:
    header = IPv6ExtHdrFragment(offset=10, m=0, id=9, nh=6)
    found = read(bytes(ETHER / IPv6(src="fd00::1", dst="fd00::2") / header / Raw(bytes(16))))
    assert (found.fragment_offset, found.fragment_id, found.protocol, found.source_port) == (80, 9, 6, 0)


def test_a_vlan_tag_is_looked_through() -> None:
    packet = ETHER / Dot1Q(vlan=5) / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=77)
    found = read(bytes(packet))
    assert (found.vlans, found.icmp_type, found.icmp_id) == ((5,), 8, 77)


def test_arp_is_read() -> None:
    assert read(bytes(ETHER / ARP())).ethertype == 0x0806


def test_a_wrong_transport_checksum_does_not_hold() -> None:
    frame = bytearray(bytes(ETHER / IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest()))
    assert transport_checksum_holds(bytes(frame), read(bytes(frame)))
    frame[-1] ^= 1
    assert not transport_checksum_holds(bytes(frame), read(bytes(frame)))


def test_a_truncated_ethernet_header_is_refused() -> None:
    assert reason(bytes(13)) == "shorter than an Ethernet header"


def test_a_wrong_header_checksum_is_refused() -> None:
    frame = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", chksum=1) / UDP())
    assert reason(frame) == "IPv4 header checksum is wrong"


def test_an_ihl_below_five_is_refused() -> None:
    frame = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", ihl=4) / UDP())
    assert reason(frame) == "IPv4 header length is 16 bytes, less than 20"


def test_a_total_length_beyond_the_frame_is_refused() -> None:
    frame = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", len=100) / UDP())
    assert reason(frame) == "IPv4 total length is 100 bytes, but 28 are there"


def test_a_tcp_data_offset_below_five_is_refused() -> None:
    assert (
        reason(bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(dataofs=4)))
        == "TCP data offset is 16 bytes, less than 20"
    )


def test_flags_that_mean_nothing_are_refused() -> None:
    assert (
        reason(bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(flags="FPU")))
        == "TCP flags are FIN PSH URG, which means nothing"
    )


def test_a_third_vlan_tag_is_refused() -> None:
    assert (
        reason(bytes(ETHER / Dot1Q() / Dot1Q() / Dot1Q() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP()))
        == "more than two VLAN tags"
    )


def test_a_source_route_is_refused() -> None:
    frame = bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", options=b"\x83\x07\x04\x01\x02\x03\x04\x00") / UDP())
    assert reason(frame) == "IPv4 source route"


@pytest.mark.parametrize(("left", "expected"), [(0, None), (1, "IPv6 source route"), (255, "IPv6 source route")])
def test_an_ipv6_routing_header_with_segments_left_is_refused(left: int, expected: str | None) -> None:
    route = IPv6ExtHdrRouting(type=4, segleft=left, addresses=["fc00::1"])
    frame = bytes(ETHER / IPv6(src="fd00::1", dst="fd00::2") / route / UDP(dport=443, chksum=0))
    found = parse(frame)
    assert (found.reason if isinstance(found, Malformed) else None) == expected


def test_a_first_fragment_without_its_whole_header_is_refused() -> None:
    assert (
        reason(bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", flags="MF", proto=6) / Raw(bytes(16))))
        == "ends inside the TCP header"
    )


def test_a_loopback_source_on_the_network_is_refused() -> None:
    frame = bytes(ETHER / IPv6(src="::1", dst="fd00::2") / UDP())
    assert reason(frame) == "IPv6 address that no packet on a network may carry"
