from __future__ import annotations

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance
from vafw.traffic.dns import Question, framed, name_error, read_question
from vafw_appliances.dns_filter.guest import create

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="10.0.0.2", dst="10.0.0.1")
V6 = IPv6(src="2001:db8:a::2", dst="2001:db8:a::1")


@pytest.fixture
def filter_() -> PacketAppliance:
    return create({"block": ["ads.example", "Tracker.Test."], "allow": ["good.ads.example"], "resolvers": ["10.0.0.1"]})


def query(name: str) -> bytes:
    return bytes(DNSRecord.question(name).pack())


def udp(network: Packet, payload: bytes) -> bytes:
    return bytes(ETHER / network / UDP(sport=4000, dport=53) / Raw(payload))


def segment(flags: str, sequence: int, data: bytes = b"") -> bytes:
    return bytes(ETHER / V4 / TCP(sport=4000, dport=53, flags=flags, seq=sequence, ack=77) / Raw(data))


def from_server(flags: str, acknowledgement: int) -> bytes:
    back = IP(src="10.0.0.1", dst="10.0.0.2")
    return bytes(ETHER / back / TCP(sport=53, dport=4000, flags=flags, seq=76, ack=acknowledgement))


def shake_hands(filter_: PacketAppliance, sequence: int, now_s: float = 0.0) -> None:
    filter_.handle(INSIDE, segment("S", sequence), now_s)
    filter_.handle(OUTSIDE, from_server("SA", sequence + 1), now_s)


@pytest.mark.parametrize("network", [V4, V6, Dot1Q(vlan=5) / V4, Dot1Q(vlan=5) / V6])
def test_a_blocked_name_is_answered_in_the_name_of_the_server(filter_: PacketAppliance, network: Packet) -> None:
    asked = query("A.ads.EXAMPLE")
    frame = udp(network, asked)
    verdict = filter_.handle(INSIDE, frame, 0.0)
    ((port, answer),) = verdict.emit
    assert (verdict.outcome, port) == (Outcome.ANSWERED, INSIDE)
    sent, came = Ether(frame), Ether(answer)
    assert (came.src, came.dst, came[UDP].sport, came[UDP].dport) == (sent.dst, sent.src, 53, 4000)
    assert Dot1Q not in came or came[Dot1Q].vlan == 5
    message = DNSRecord.parse(bytes(came[UDP].payload))
    assert (message.header.id, message.header.rcode, message.header.qr) == (DNSRecord.parse(asked).header.id, 3, 1)
    assert message.q.qname.label == (b"A", b"ads", b"EXAMPLE")


def test_a_blocked_name_is_logged_and_reported(filter_: PacketAppliance) -> None:
    assert (
        filter_.handle(INSIDE, udp(V4, query("tracker.test")), 0.0).log == "blocked tracker.test (A), asked by 10.0.0.2"
    )
    report = filter_.report()
    assert (report["queries"], report["recent-blocked"]) == (
        {"allowed": 0, "blocked": 1, "malformed": 0},
        ["tracker.test"],
    )


@pytest.mark.parametrize(
    "name", ["example", "www.example.org", "notads.example", "x.good.ads.example", "ads.example.com"]
)
def test_another_name_passes_unchanged(filter_: PacketAppliance, name: str) -> None:
    frame = udp(V4, query(name))
    assert filter_.handle(INSIDE, frame, 0.0).emit == ((OUTSIDE, frame),)


def test_what_is_no_query_on_port_53_is_dropped(filter_: PacketAppliance) -> None:
    verdict = filter_.handle(INSIDE, udp(V4, b"\0\1\2"), 0.0)
    assert (verdict.outcome, verdict.log) == (
        Outcome.DROPPED, "dropped what goes to port 53 and is no query: shorter than a DNS header",
    )  # fmt: skip


@given(st.binary(max_size=100))
def test_no_payload_on_port_53_makes_the_filter_raise(payload: bytes) -> None:
    verdict = create({"block": ["ads.example"]}).handle(INSIDE, udp(V4, payload), 0.0)
    assert verdict.outcome in (Outcome.DROPPED, Outcome.PASSED)


@given(st.binary(max_size=150))
def test_no_bytes_make_the_reader_of_questions_raise(message: bytes) -> None:
    read_question(message)


@given(st.binary(max_size=200), st.sampled_from([INSIDE, OUTSIDE]))
def test_no_frame_makes_the_filter_raise(frame: bytes, port: str) -> None:
    create({"block": ["ads.example"]}).handle(port, frame, 0.0)


def test_everything_from_the_outside_passes(filter_: PacketAppliance) -> None:
    frame = udp(V4, query("ads.example"))
    assert filter_.handle(OUTSIDE, frame, 0.0).emit == ((INSIDE, frame),)


def test_a_blocked_query_over_tcp_ends_the_connection_on_both_sides(filter_: PacketAppliance) -> None:
    shake_hands(filter_, 99)
    verdict = filter_.handle(INSIDE, segment("PA", 100, framed(query("ads.example"))), 0.0)
    (inwards, answer), (outwards, reset) = verdict.emit
    assert (verdict.outcome, inwards, outwards) == (Outcome.ANSWERED, INSIDE, OUTSIDE)
    assert (Ether(answer)[TCP].flags, Ether(answer)[TCP].seq) == ("FPA", 77)
    assert DNSRecord.parse(bytes(Ether(answer)[TCP].payload)[2:]).header.rcode == 3
    assert (Ether(reset)[TCP].flags, Ether(reset)[TCP].seq, Ether(reset)[IP].src) == ("R", 100, "10.0.0.2")
    farewell = filter_.handle(INSIDE, segment("FA", 200), 0.0)
    assert Ether(farewell.emit[0][1])[TCP].flags == "A"


def test_a_query_in_pieces_does_not_get_through_whole(filter_: PacketAppliance) -> None:
    whole = framed(query("ads.example"))
    shake_hands(filter_, 99)
    outcomes = [
        filter_.handle(INSIDE, segment("PA", 100 + at, whole[at : at + 10]), 0.0).outcome
        for at in range(0, len(whole), 10)
    ]
    assert outcomes == [Outcome.PASSED] * (len(outcomes) - 1) + [Outcome.ANSWERED]


def test_segments_out_of_turn_are_dropped(filter_: PacketAppliance) -> None:
    assert filter_.handle(INSIDE, segment("PA", 100, b"x"), 0.0).rule == "(stream)"
    shake_hands(filter_, 99)
    assert filter_.handle(INSIDE, segment("PA", 101, b"x"), 0.0).rule == "(stream)"
    assert filter_.handle(INSIDE, segment("PA", 100, b"\0"), 0.0).outcome is Outcome.PASSED
    assert filter_.handle(INSIDE, segment("PA", 100, b"\1"), 0.0).rule == "(stream)"


def test_a_second_syn_in_the_middle_of_a_query_does_not_make_the_filter_forget_its_beginning(
    filter_: PacketAppliance,
) -> None:
    whole = framed(query("ads.example"))
    shake_hands(filter_, 99)
    filter_.handle(INSIDE, segment("A", 100, whole[:14]), 0.0)
    assert filter_.handle(INSIDE, segment("S", 113), 0.0).rule == "(stream)"
    assert filter_.handle(INSIDE, segment("PA", 114, whole[14:]), 0.0).rule == "blocked"


def test_a_syn_from_before_the_connection_began_does_not_hide_a_query_behind_a_long_message(
    filter_: PacketAppliance,
) -> None:
    shake_hands(filter_, 99)
    assert filter_.handle(INSIDE, segment("S", 89), 0.0).rule == "(stream)"
    assert filter_.handle(INSIDE, segment("A", 90, b"\xff\xff" + bytes(8)), 0.0).rule == "(stream)"
    assert filter_.handle(INSIDE, segment("PA", 100, framed(query("ads.example"))), 0.0).rule == "blocked"


def test_no_data_passes_before_the_server_has_confirmed_where_the_stream_begins(filter_: PacketAppliance) -> None:
    filter_.handle(INSIDE, segment("S", 99), 0.0)
    assert filter_.handle(INSIDE, segment("A", 100, b"\0"), 0.0).rule == "(stream)"
    filter_.handle(OUTSIDE, from_server("SA", 100), 0.0)
    assert filter_.handle(INSIDE, segment("A", 100, b"\0"), 0.0).outcome is Outcome.PASSED


def test_a_server_that_confirms_another_beginning_ends_the_stream(filter_: PacketAppliance) -> None:
    filter_.handle(INSIDE, segment("S", 99), 0.0)
    filter_.handle(INSIDE, segment("S", 89), 0.0)
    filter_.handle(OUTSIDE, from_server("SA", 100), 0.0)
    filter_.handle(OUTSIDE, from_server("SA", 90), 0.0)
    assert filter_.handle(INSIDE, segment("A", 90, b"\0"), 0.0).outcome is Outcome.DROPPED


def test_urgent_data_is_dropped_because_a_server_would_take_it_out_of_the_stream(filter_: PacketAppliance) -> None:
    shake_hands(filter_, 99)
    assert filter_.handle(INSIDE, segment("AU", 100, b"\xff"), 0.0).rule == "(stream)"


def test_a_repeated_syn_passes_and_keeps_the_stream(filter_: PacketAppliance) -> None:
    shake_hands(filter_, 99)
    whole = framed(query("ads.example"))
    filter_.handle(INSIDE, segment("A", 100, whole[:14]), 0.0)
    assert filter_.handle(INSIDE, segment("S", 99), 0.0).outcome is Outcome.PASSED
    assert filter_.handle(INSIDE, segment("PA", 114, whole[14:]), 0.0).rule == "blocked"


@pytest.mark.parametrize(("flags", "now_s"), [("FA", 1.0), ("A", 601.0)])
def test_a_port_is_used_again_once_the_server_has_closed_or_all_was_silent_for_long(
    filter_: PacketAppliance, flags: str, now_s: float
) -> None:
    shake_hands(filter_, 99)
    filter_.handle(INSIDE, segment("A", 100, framed(query("other.example"))), 0.0)
    filter_.handle(OUTSIDE, from_server(flags, 140), 0.5)
    shake_hands(filter_, 5000, now_s)
    assert filter_.handle(INSIDE, segment("PA", 5001, framed(query("other.example"))), now_s).rule == "(allowed)"


def test_a_flood_of_connections_makes_no_stream_in_use_forgotten(filter_: PacketAppliance) -> None:
    whole = framed(query("ads.example"))
    shake_hands(filter_, 99)
    filter_.handle(INSIDE, segment("A", 100, whole[:14]), 0.0)
    for port in range(10000, 10000 + 1100):
        filter_.handle(INSIDE, bytes(ETHER / V4 / TCP(sport=port, dport=53, flags="S", seq=1)), 0.0)
    assert filter_.handle(INSIDE, segment("S", 113), 0.0).rule == "(stream)"
    assert filter_.handle(INSIDE, segment("PA", 114, whole[14:]), 0.0).rule == "blocked"


def test_the_answer_keeps_id_and_question() -> None:
    asked = read_question(query("x.ads.example"))
    assert isinstance(asked, Question)
    assert DNSRecord.parse(name_error(asked)).header.id == asked.identifier


def test_the_probe_blocks_a_name(filter_: PacketAppliance) -> None:
    assert filter_.probe() == (True, "2 names are blocked, a query for ads.example gets NXDOMAIN")


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^the DNS filter's config must have no keys but allow, block, follow, resolvers, not 'blok'$"
    ):
        create({"blok": []})


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^block: a name must be letters, digits, hyphens and dots, such as ads\.example, not 'a b'$"
    ):
        create({"block": ["a b"]})


def test_the_filter_follows_itself_with_other_names_and_its_counts_go_on() -> None:
    filter_ = create({"block": ["ads.example"]})
    filter_.handle(INSIDE, udp(V4, query("ads.example")), 0.0)
    follower = filter_.reconfigured({"block": ["news.example"]})  # type: ignore[attr-defined]
    assert follower.handle(INSIDE, udp(V4, query("ads.example")), 0.0).outcome is Outcome.PASSED
    assert follower.handle(INSIDE, udp(V4, query("news.example")), 0.0).outcome is Outcome.ANSWERED
    assert follower.report()["queries"] == {"allowed": 1, "blocked": 2, "malformed": 0}
    assert filter_.handle(INSIDE, udp(V4, query("ads.example")), 0.0).outcome is Outcome.ANSWERED


def test_a_stream_that_was_open_stays_open_and_its_next_query_is_read_by_the_new_names() -> None:
    filter_ = create({"block": ["ads.example"]})
    shake_hands(filter_, 100)
    follower = filter_.reconfigured({"block": ["news.example"]})  # type: ignore[attr-defined]
    asked = framed(query("news.example"))
    assert follower.handle(INSIDE, segment("PA", 101, asked), 0.0).outcome is Outcome.ANSWERED


def test_names_that_are_none_are_refused_and_the_old_ones_stay() -> None:
    filter_ = create({"block": ["ads.example"]})
    with pytest.raises(ValueError, match="block: "):
        filter_.reconfigured({"block": ["a b"]})  # type: ignore[attr-defined]
    assert filter_.handle(INSIDE, udp(V4, query("ads.example")), 0.0).outcome is Outcome.ANSWERED
