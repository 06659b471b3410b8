"""Frames that no well-behaved program sends: built by scapy, sent through a real interface by AF_PACKET.

python -m tests.captures.odd_frames INTERFACE (user|wire)
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrRouting
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from tests.captures.namespaces import ROUTER_MAC, USER_MAC

V4 = {"user": ("10.0.0.2", "198.51.100.10"), "wire": ("198.51.100.10", "10.0.0.2")}
V6 = {"user": ("2001:db8:a::2", "2001:db8:b::10"), "wire": ("2001:db8:b::10", "2001:db8:a::2")}


def tagged(ether: Packet, v4: Packet, v6: Packet) -> Iterator[Packet]:
    """802.1Q and 802.1ad tags, a priority tag, and a tag with nothing behind it."""
    yield ether / Dot1Q(vlan=7) / v4 / TCP(sport=40001, dport=80, flags="S")
    yield ether / Dot1Q(vlan=7) / v4 / TCP(sport=40002, dport=22, flags="S")
    yield ether / Dot1Q(vlan=7) / v6 / ICMPv6EchoRequest(id=7, data=b"tagged")
    yield ether / Dot1Q(vlan=0, prio=5) / v4 / ICMP(id=8) / Raw(b"priority")
    yield ether / Dot1AD(vlan=100) / Dot1Q(vlan=7) / v4 / UDP(sport=40003, dport=443) / Raw(b"twice")
    query = DNS(id=99, rd=1, qd=DNSQR(qname="ads.example.net"))
    yield ether / Dot1Q(vlan=7) / IP(src=v4.src, dst="10.0.0.1") / UDP(sport=40004, dport=53) / query
    yield Ether(src=ether.src, dst=ether.dst, type=0x8100) / Raw(b"\x00")


def other_ethertypes(ether: Packet) -> Iterator[Packet]:
    """LLDP, EAPOL, a spanning-tree frame (802.3 length field), MPLS, a gratuitous and a truncated ARP."""
    yield Ether(src=ether.src, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(bytes(20))
    yield Ether(src=ether.src, dst="01:80:c2:00:00:03", type=0x888E) / Raw(b"\x01\x01\x00\x00")
    yield Ether(src=ether.src, dst="01:80:c2:00:00:00", type=38) / Raw(b"\x42\x42\x03" + bytes(35))
    yield Ether(src=ether.src, dst=ether.dst, type=0x8847) / Raw(bytes(24))
    yield Ether(src=ether.src, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, psrc="10.0.0.77", pdst="10.0.0.77")
    yield Ether(src=ether.src, dst="ff:ff:ff:ff:ff:ff", type=0x0806) / Raw(b"\x00\x01\x08\x00\x06")


def malformed_v4(ether: Packet, v4: Packet) -> Iterator[Packet]:
    """Each header field that a parser must not believe."""
    syn = TCP(sport=40010, dport=80, flags="S")
    whole = bytes(v4 / syn)
    for length in (0, 12, 28):
        yield Ether(src=ether.src, dst=ether.dst, type=0x0800) / Raw(whole[:length])
    yield ether / IP(src=v4.src, dst=v4.dst, chksum=0xDEAD) / syn
    yield ether / IP(src=v4.src, dst=v4.dst, ihl=4) / syn
    yield ether / IP(src=v4.src, dst=v4.dst, ihl=15) / syn
    yield ether / IP(src=v4.src, dst=v4.dst, len=1400) / syn
    yield ether / IP(src=v4.src, dst=v4.dst, len=12) / syn
    yield ether / IP(src=v4.src, dst=v4.dst, version=5) / syn
    yield ether / v4 / TCP(sport=40011, dport=80, flags="S", dataofs=3)
    yield ether / v4 / TCP(sport=40012, dport=80, flags="S", chksum=0xBEEF)
    for number, flags in enumerate(("FPU", "", "SF", "SR", "FSRPAUEC", "F", "A", "R"), 40013):
        yield ether / v4 / TCP(sport=number, dport=80, flags=flags)
    yield ether / v4 / TCP(sport=40030, dport=0, flags="S")
    yield ether / v4 / UDP(sport=40031, dport=443, len=4)
    yield ether / v4 / UDP(sport=40032, dport=443, len=900) / Raw(b"short")
    yield ether / v4 / UDP(sport=40033, dport=443, chksum=0x0BAD) / Raw(b"bad sum")
    yield ether / IP(src=v4.src, dst=v4.dst, proto=132) / Raw(bytes(32))
    yield ether / IP(src="127.0.0.1", dst=v4.dst) / syn
    yield ether / IP(src="10.9.9.9", dst=v4.dst) / syn


def fragments(ether: Packet, v4: Packet, v6: Packet) -> Iterator[Packet]:
    """A datagram in order, one backwards, one whose first part never comes, a tiny one, and overlapping ones."""
    whole = v4 / UDP(sport=40040, dport=443) / Raw(bytes(900))
    for number, parts in enumerate((fragment(whole, 304), reversed(fragment(whole, 304)))):
        for part in parts:
            part.id = 500 + number
            yield ether / part
    yield ether / IP(src=v4.src, dst=v4.dst, id=510, frag=64, proto=17) / Raw(bytes(64))
    tiny = bytes(TCP(sport=40041, dport=80, flags="S"))
    yield ether / IP(src=v4.src, dst=v4.dst, id=511, flags="MF", proto=6) / Raw(tiny[:8])
    yield ether / IP(src=v4.src, dst=v4.dst, id=511, frag=1, proto=6) / Raw(tiny[8:])
    yield ether / IP(src=v4.src, dst=v4.dst, id=512, flags="MF", proto=6) / Raw(tiny + bytes(12))
    yield ether / IP(src=v4.src, dst=v4.dst, id=512, frag=1, proto=6) / Raw(tiny)
    yield ether / v6 / IPv6ExtHdrFragment(id=9, offset=20, m=0, nh=17) / Raw(bytes(40))


def malformed_v6(ether: Packet, v6: Packet) -> Iterator[Packet]:
    """IPv6's own: a cut header, a payload length that lies, a type 0 routing header, no next header."""
    syn = TCP(sport=40050, dport=80, flags="S")
    yield Ether(src=ether.src, dst=ether.dst, type=0x86DD) / Raw(bytes(v6 / syn)[:30])
    yield ether / IPv6(src=v6.src, dst=v6.dst, plen=1000) / syn
    yield ether / v6 / IPv6ExtHdrRouting(type=0, addresses=["2001:db8:b::99"]) / syn
    yield ether / IPv6(src=v6.src, dst=v6.dst, nh=59)
    yield ether / IPv6(src=v6.src, dst=v6.dst, nh=0) / Raw(b"\x06\xff")
    yield ether / IPv6(src="::1", dst=v6.dst) / syn


def bad_questions(ether: Packet, v4: Packet) -> Iterator[Packet]:
    """DNS to the resolver that a filter must survive: a name that points at itself, a cut question, nothing."""
    header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    for data in (header + b"\xc0\x0c\x00\x01\x00\x01", header + b"\x03ads\x07exam", b"", header[:5]):
        yield ether / IP(src=v4.src, dst="10.0.0.1") / UDP(sport=40060, dport=53) / Raw(data)


def frames(side: str) -> Iterator[Packet]:
    """All of them, as sent from one end."""
    source, target = (USER_MAC, ROUTER_MAC) if side == "user" else (ROUTER_MAC, USER_MAC)
    ether = Ether(src=source, dst=target)
    v4, v6 = IP(src=V4[side][0], dst=V4[side][1]), IPv6(src=V6[side][0], dst=V6[side][1])
    yield from tagged(ether, v4, v6)
    yield from other_ethertypes(ether)
    yield from malformed_v4(ether, v4)
    yield from fragments(ether, v4, v6)
    yield from malformed_v6(ether, v6)
    yield from bad_questions(ether, v4)


def main(interface: str, side: str) -> None:
    """Send each once; the interface pads nothing, so a short frame stays as short as it is."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for frame in frames(side):
            wire.send(bytes(frame))


if __name__ == "__main__":
    main(*sys.argv[1:])
