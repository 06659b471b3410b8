"""What tests may rely on in the captures, read by scapy and not by the reader under test."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet
from scapy.utils import RawPcapReader

ROOT = Path(__file__).parents[2]
OFFICE = ROOT / "policies/office-laptop/captures/office.pcap"
OFFICE_10K = Path(__file__).with_name("office-10k.pcap.gz")
USER_MAC = bytes.fromhex("525400aa0001")


def frames(capture: bytes) -> list[bytes]:
    with RawPcapReader(io.BytesIO(capture)) as reader:
        return [data for data, _ in reader]


@pytest.fixture(scope="module")
def office() -> list[Packet]:
    return [Ether(each) for each in frames(OFFICE.read_bytes())]


def test_the_shipped_capture_is_small() -> None:
    assert OFFICE.stat().st_size < 300_000
    assert 300 <= len(frames(OFFICE.read_bytes())) <= 800


def test_the_large_capture_has_ten_thousand_frames_and_stays_small() -> None:
    assert OFFICE_10K.stat().st_size < 2_000_000
    found = frames(gzip.decompress(OFFICE_10K.read_bytes()))
    assert len(found) >= 10_000
    assert max(map(len, found)) <= 1_518
    assert 0.3 < sum(each[6:12] == USER_MAC for each in found) / len(found) < 0.7


@pytest.mark.parametrize("side", ["52:54:00:aa:00:01", "52:54:00:bb:00:01"])
@pytest.mark.parametrize(
    "layers",
    [(ARP,), (IP, TCP), (IP, UDP), (IP, ICMP), (IPv6, TCP), (IPv6, UDP), (Dot1Q,), (Dot1AD,), (IPv6ExtHdrFragment,)],
    ids=lambda layers: "-".join(layer.__name__ for layer in layers),
)
def test_every_kind_of_frame_comes_from_both_ends(office: list[Packet], side: str, layers: tuple[type, ...]) -> None:
    assert [each for each in office if each.src == side and all(layer in each for layer in layers)]


@pytest.mark.parametrize("name", [b"www.example.com.", b"ads.example.net.", b"tracker.example.org."])
def test_names_are_asked_for_and_answered(office: list[Packet], name: bytes) -> None:
    messages = [each[DNS] for each in office if UDP in each and DNSQR in each]
    assert {message.qr for message in messages if message[DNSQR].qname.lower() == name} == {0, 1}


@pytest.mark.parametrize("port", [22, 53, 80, 443])
def test_connections_to_the_services_open(office: list[Packet], port: int) -> None:
    opened = [each for each in office if TCP in each and each[TCP].sport == port and each[TCP].flags == "SA"]
    assert opened


def test_the_user_is_scanned_and_scans(office: list[Packet]) -> None:
    knocks = [each[IP] for each in office if IP in each and TCP in each and each[TCP].flags == "S"]
    assert len({each[TCP].dport for each in knocks if each.dst == "10.0.0.2"}) > 10
    assert len({each[TCP].dport for each in knocks if each.dst == "192.168.1.10"}) > 10


def test_there_are_fragments_and_malformed_headers_and_pings_of_both_families(office: list[Packet]) -> None:
    assert [each for each in office if IP in each and each[IP].frag]
    assert [each for each in office if IP in each and each[IP].ihl == 4]
    assert [each for each in office if IP in each and each[IP].version == 5]
    assert [each for each in office if ICMPv6EchoRequest in each]
