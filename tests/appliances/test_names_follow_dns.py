"""A rule that names `*.example.com`: the DNS filter's answers open the firewall, their time to live closes it again.

Both programs as they are measured, joined by a link in each direction; what one emits the other is handed at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest
from dnslib import AAAA, CNAME, QTYPE, RR, A, DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, PacketAppliance
from vafw.traffic.dns_answer import NamedAddress, addresses_in
from vafw.traffic.dns_answer_stream import MOST_BYTES, AnswerStream
from vafw.traffic.name_notice import notices, read_notice
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES
from vafw_appliances.dns_filter.guest import create as dns_filter
from vafw_appliances.firewall.guest import create as firewall

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
USER = (Selector(INSIDE, AddressSet.everything()),)
ANY = (Selector(None, AddressSet.everything()),)
SHOP = (Selector(OUTSIDE, AddressSet.from_texts(["198.51.100.0/24", "203.0.113.0/24"]), ("*.example.com",)),)
RULES = Ruleset(
    (
        Rule("resolve", USER, ANY, SERVICES["dns"], Action.ACCEPT),
        Rule("shop", USER, SHOP, SERVICES["https"], Action.ACCEPT),
    ),
    Action.DROP,
)


class Path:
    """Firewall, then DNS filter, then the user."""

    def __init__(self) -> None:
        self.hops: list[PacketAppliance] = [
            firewall({"ruleset": RULES.to_config()}),
            dns_filter({"follow": ["*.example.com"], "resolvers": ["10.0.0.1"]}),
        ]
        self.now_s = 100.0

    def feed(self, side: str, packet: Any) -> list[tuple[str, bytes]]:
        """What comes out at both ends."""
        at = len(self.hops) - 1 if side == INSIDE else 0
        waiting, out = [(at, side, bytes(ETHER / packet))], []
        while waiting:
            hop, port, frame = waiting.pop(0)
            for leaves, sent in self.hops[hop].handle(port, frame, self.now_s).emit:
                following = hop + (1 if leaves == INSIDE else -1)
                if 0 <= following < len(self.hops):
                    waiting.append((following, OUTSIDE if leaves == INSIDE else INSIDE, sent))
                else:
                    out.append((leaves, sent))
        return out

    def asks(self, name: str, identifier: int = 7) -> DNSRecord:
        query = DNSRecord.question(name)
        query.header.id = identifier
        sent = IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=4000, dport=53) / Raw(query.pack())
        assert len(self.feed(INSIDE, sent)) == 1
        return query

    def answered(self, query: DNSRecord, records: Iterable[RR]) -> None:
        reply = query.reply()
        for each in records:
            reply.add_answer(each)
        came = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=53, dport=4000) / Raw(reply.pack())
        assert [side for side, _ in self.feed(OUTSIDE, came)] == [INSIDE]

    def reaches(self, address: str, port: int = 50000) -> bool:
        segment = IP(src="10.0.0.2", dst=address) / TCP(sport=port, dport=443, flags="S", seq=1)
        return bool(self.feed(INSIDE, segment))


def record(name: str, address: str, ttl: int = 300) -> RR:
    return RR(name, QTYPE.A, rdata=A(address), ttl=ttl)


def test_an_answer_opens_the_firewall_for_its_time_to_live() -> None:
    path = Path()
    assert not path.reaches("198.51.100.10")
    path.answered(path.asks("www.example.com"), [record("www.example.com", "198.51.100.10")])
    assert path.reaches("198.51.100.10", 50001)
    assert not path.reaches("198.51.100.11", 50002)
    path.now_s += 301
    assert not path.reaches("198.51.100.10", 50003)


def test_an_alias_is_followed_and_what_else_the_answer_says_is_not() -> None:
    path = Path()
    alias = RR("www.example.com", QTYPE.CNAME, rdata=CNAME("cdn.example.net"), ttl=300)
    extra = record("elsewhere.example.com", "198.51.100.66")
    path.answered(path.asks("www.example.com"), [alias, record("cdn.example.net", "198.51.100.20"), extra])
    assert path.reaches("198.51.100.20")
    assert not path.reaches("198.51.100.66", 50001)


def test_an_answer_for_another_name_opens_nothing() -> None:
    path = Path()
    path.answered(path.asks("www.example.org"), [record("www.example.org", "198.51.100.10")])
    assert not path.reaches("198.51.100.10")


def test_an_answer_that_nobody_asked_for_opens_nothing() -> None:
    path = Path()
    query = path.asks("www.example.com", identifier=7)
    query.header.id = 8
    path.answered(query, [record("www.example.com", "198.51.100.10")])
    assert not path.reaches("198.51.100.10")


def test_a_name_that_is_made_to_stand_for_the_local_network_opens_nothing() -> None:
    path = Path()
    path.answered(path.asks("www.example.com"), [record("www.example.com", "192.168.1.1")])
    assert not path.reaches("192.168.1.1")


def test_the_user_cannot_tell_the_firewall_anything() -> None:
    path = Path()
    (forged,) = notices([NamedAddress("www.example.com", 4, int(ip_address("198.51.100.10")), 300)])
    verdict = path.hops[1].handle(INSIDE, forged, path.now_s)
    assert (verdict.rule, verdict.emit) == ("(notice)", ())
    assert path.hops[0].handle(OUTSIDE, forged, path.now_s).rule == "(ethertype)"
    assert not path.reaches("198.51.100.10")


named = st.builds(
    NamedAddress, st.from_regex(r"[a-z]{1,30}\.example\.com", fullmatch=True), st.just(4), st.integers(0, 2**32 - 1),
    st.integers(0, 2**31 - 1),
)  # fmt: skip


@given(st.lists(named, max_size=100))
def test_a_notice_says_what_was_to_be_told(found: list[NamedAddress]) -> None:
    frames = notices(found)
    told = [read_notice(frame) for frame in frames]
    assert [each for notice in told for each in notice or ()] == found
    assert all(len(frame) <= 1514 for frame in frames)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_raise(data: bytes) -> None:
    read_notice(bytes(12) + b"\x88\xb5vafw-names1" + data)
    addresses_in(data, "www.example.com")


@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_an_address_lives_as_long_as_the_shortest_record_that_leads_to_it(kind: str) -> None:
    reply = DNSRecord.question("a.example.com").reply()
    reply.add_answer(RR("a.example.com", QTYPE.CNAME, rdata=CNAME("b.example.com"), ttl=60))
    data: Any = A("198.51.100.1") if kind == "A" else AAAA("2001:db8::1")
    reply.add_answer(RR("b.example.com", getattr(QTYPE, kind), rdata=data, ttl=900))
    (found,) = addresses_in(reply.pack(), "a.example.com")
    assert (found.name, found.ttl_s) == ("a.example.com", 60)


class Spoken:
    """A DNS conversation over TCP through a path: a client that asks and a server that answers in segments."""

    CLIENT, SERVER = 1000, 70_000

    def __init__(self, path: Path) -> None:
        self.path = path
        self.client("S", self.CLIENT)
        self.server("SA", self.SERVER, ack=self.CLIENT + 1)
        self.client("A", self.CLIENT + 1, ack=self.SERVER + 1)

    def client(self, flags: str, sequence: int, data: bytes = b"", ack: int = 0) -> list[tuple[str, bytes]]:
        segment = TCP(sport=4000, dport=53, flags=flags, seq=sequence, ack=ack)
        return self.path.feed(INSIDE, IP(src="10.0.0.2", dst="10.0.0.1") / segment / Raw(data))

    def server(self, flags: str, sequence: int, data: bytes = b"", ack: int = 0) -> list[tuple[str, bytes]]:
        segment = TCP(sport=53, dport=4000, flags=flags, seq=sequence, ack=ack)
        return self.path.feed(OUTSIDE, IP(src="10.0.0.1", dst="10.0.0.2") / segment / Raw(data))

    def asks(self, name: str) -> DNSRecord:
        query = DNSRecord.question(name)
        assert len(self.client("PA", self.CLIENT + 1, framed(query.pack()), ack=self.SERVER + 1)) == 1
        return query


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def answer_to(query: DNSRecord, *records: RR) -> bytes:
    reply = query.reply()
    for each in records:
        reply.add_answer(each)
    return framed(reply.pack())


def test_an_answer_over_tcp_opens_the_firewall_too() -> None:
    spoken = Spoken(Path())
    answer = answer_to(spoken.asks("www.example.com"), record("www.example.com", "198.51.100.10"))
    spoken.server("PA", spoken.SERVER + 1, answer[:20])
    assert not spoken.path.reaches("198.51.100.10")
    spoken.server("PA", spoken.SERVER + 21, answer[20:])
    assert spoken.path.reaches("198.51.100.10", 50001)


def test_an_answer_over_tcp_that_nobody_asked_for_opens_nothing() -> None:
    spoken = Spoken(Path())
    query = spoken.asks("www.example.com")
    query.header.id ^= 1
    spoken.server("PA", spoken.SERVER + 1, answer_to(query, record("www.example.com", "198.51.100.10")))
    assert not spoken.path.reaches("198.51.100.10")


def test_bytes_that_are_not_in_line_with_the_servers_beginning_open_nothing() -> None:
    spoken = Spoken(Path())
    answer = answer_to(spoken.asks("www.example.com"), record("www.example.com", "198.51.100.10"))
    spoken.server("PA", spoken.SERVER + 5000, answer)
    assert not spoken.path.reaches("198.51.100.10")


@given(data=st.data())
def test_an_answer_stream_in_any_pieces_order_and_repetition_gives_the_same_messages(data: st.DataObject) -> None:
    messages = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
    stream = b"".join(map(framed, messages))
    begins = data.draw(st.sampled_from([0, 1, 0xFFFFFFF0, 0x7FFFFFFF]))
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    pieces = [(at, stream[at:to]) for at, to in pairwise(cuts)]
    overlapping = [(max(0, at - data.draw(st.integers(0, 6))), at + len(piece)) for at, piece in pieces]
    sent = data.draw(st.permutations(overlapping + overlapping[: data.draw(st.integers(0, 3))]))
    reader = AnswerStream(begins)
    heard = [each for at, to in sent for each in reader.feed(begins + at & 0xFFFFFFFF, stream[at:to])]
    assert heard == messages


def test_a_stream_that_is_no_message_ends_the_reading() -> None:
    reader = AnswerStream(0)
    for at in range(0, 70_000, 1000):
        assert reader.feed(at, b"\xff" * 1000) in ((), (b"\xff" * 0xFFFF,))
    early = AnswerStream(0)
    for at in range(2, 400_000, 1000):
        assert early.feed(at, b"\xff" * 1000) == ()
    assert sum(map(len, early._early.values())) <= MOST_BYTES
