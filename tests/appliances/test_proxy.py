"""The proxy between a user and a small internet: what passes, what is asked for, what is refused and what bounded."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from tests.appliances.proxy_street import (
    GET,
    OK,
    PROXY,
    PROXY6,
    PROXY_MAC,
    Origin,
    Street,
    connect,
    get,
    latest,
    page,
    peer_world,
    proxy,
    sites,
    without,
)
from vafw.provider.peer import PAGE, PEER_MAC, Peer, Site
from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome
from vafw.traffic.frame import Frame, parse
from vafw.traffic.host.tcp import End
from vafw_appliances.proxy.head import LONGEST_HEAD

# -- requests ---------------------------------------------------------------------------------------------------


def test_a_page_is_fetched_in_the_proxys_own_name() -> None:
    street = Street(proxy())
    said = street.fetch(GET)
    assert said.startswith(OK)
    assert said.endswith(b"hello\n")
    wire = [Ether(each) for each in street.seen_outside]
    assert {each[IP].src for each in wire if IP in each} == {PROXY}
    asked = b"".join(bytes(each[TCP].payload) for each in wire if TCP in each and each[TCP].dport == 80)
    assert asked == b"GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"


def test_a_page_is_fetched_over_ipv6_on_both_sides() -> None:
    street = Street(proxy())
    assert street.fetch(get("http://six.example.com/"), to=PROXY6).startswith(OK)
    assert {Ether(each)[IPv6].dst for each in street.seen_outside if TCP in Ether(each)} == {"2001:db8:b::10"}


def test_a_tunnel_carries_bytes_both_ways() -> None:
    street = Street(proxy())
    tunnel = street.open()
    assert street.say(tunnel, connect("www.example.com:443")) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert street.say(tunnel, b"\x16\x03\x01 hello").endswith(PAGE)
    assert latest(street) == [("allowed", "allow all")]


def test_what_comes_with_a_tunnels_head_goes_through_it() -> None:
    street = Street(proxy())
    assert street.say(street.open(), connect("www.example.com:443") + b"\x16\x03\x01").endswith(PAGE)


def test_a_head_may_come_byte_by_byte() -> None:
    street = Street(proxy())
    client = street.open()
    for at in range(len(GET)):
        said = street.say(client, GET[at : at + 1])
    assert said.startswith(OK)


def test_a_second_request_on_the_connection_reaches_nobody() -> None:
    street = Street(proxy(block=["news.example.org"]))
    said = street.fetch(GET + get("http://news.example.org/"))
    assert said.count(b"HTTP/1.") == 1
    assert not [each for each in street.seen_outside if b"news" in each]


def test_a_body_of_a_get_that_hides_a_request_stays_a_body() -> None:
    street = Street(proxy())
    street.fetch(get("http://www.example.com/", "Content-Length: 5") + b"helloGET /admin HTTP/1.1\r\n\r\n")
    assert not [each for each in street.seen_outside if b"admin" in each]


@pytest.mark.parametrize(
    ("config", "request_", "line"),
    [
        ({"block": ["*.example.com"]}, GET, "403 Forbidden: block *.example.com"),
        ({"allow": ["*.example.com"], "block": ["www.example.com"]}, GET, "403 Forbidden: block www.example.com"),
        ({"allow": ["example.com"]}, GET, "403 Forbidden: not in allow"),
        ({"allow": ["*.example.com"]}, get("http://198.51.100.10/"), "403 Forbidden: not in allow"),
        ({"clients": ["10.0.0.9/32"]}, GET, "403 Forbidden: not a client"),
        ({}, get("http://www.example.com:8080/"), "403 Forbidden: the port is not of the web"),
        ({}, connect("www.example.com:80"), "403 Forbidden: a tunnel must lead to port 443"),
        ({}, connect("www.example.com:22"), "403 Forbidden: the port is not of the web"),
        ({}, get("http://10.0.0.1/"), "403 Forbidden: its address is of the user's own network"),
        ({}, get("http://127.0.0.1/"), "403 Forbidden: its address is loopback"),
        ({}, get("http://[::ffff:10.0.0.1]/"), "403 Forbidden: its address is special"),
        ({}, get("http://[64:ff9b::a00:1]/"), "403 Forbidden: its address is translated"),
        ({}, get("http://printer.example.com/"), "403 Forbidden: its address is private"),
        ({}, get("http://none.example.com/"), "502 Bad Gateway: the name does not exist"),
        ({}, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
         "400 Bad Request: the target must be http:// with a host and a path, as a proxy is asked"),
        ({}, b"\n", "400 Bad Request: lines must end with CR LF"),
        ({}, b"x" * 20_000, f"431 Request Header Fields Too Large: a head must have at most {LONGEST_HEAD} bytes"),
    ],
)  # fmt: skip
def test_what_may_not_be_had_is_refused_with_the_rule(config: dict[str, Value], request_: bytes, line: str) -> None:
    street = Street(proxy(**config))
    assert page(street.fetch(request_)) == line
    assert not [each for each in street.seen_outside if TCP in Ether(each)]
    rule = line.partition(": ")[2]
    assert [each for each in street.verdicts if (each.outcome, each.rule) == (Outcome.REJECTED, rule)]
    assert [each.log for each in street.verdicts if rule in each.log]


def test_a_head_that_is_refused_has_no_body() -> None:
    said = Street(proxy(block=["*.example.com"])).fetch(get("http://www.example.com/", method="HEAD"))
    assert said.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert said.endswith(b"\r\n\r\n")


def test_a_refused_upload_gets_its_page_however_much_still_comes() -> None:
    street = Street(proxy(block=["*.example.com"]))
    head = get("http://www.example.com/", "Content-Length: 100000", method="POST")
    assert page(street.fetch(head + b"x" * 60_000)) == "403 Forbidden: block *.example.com"


def test_an_allowed_name_with_one_private_address_among_others_is_refused() -> None:
    street = Street(proxy(), sites(www="198.51.100.10 192.168.1.1"))
    assert page(street.fetch(GET)) == "403 Forbidden: its address is private"


def test_the_next_address_is_tried_where_one_is_closed() -> None:
    world = sites(www="203.0.113.1 198.51.100.10")

    def closed(frame: bytes) -> list[bytes]:
        packet: Any = Ether(frame)
        if TCP in packet and packet[IP].dst == "203.0.113.1":
            parsed = parse(frame)
            assert isinstance(parsed, Frame)
            refused = build.reset(frame, parsed)
            return [] if refused is None else [refused]
        return world(frame)

    assert Street(proxy(), closed).fetch(GET).startswith(OK)


def test_a_site_that_is_closed_is_refused_with_that_reason() -> None:
    peer = Peer(Site(pages={}))
    said = Street(proxy(), lambda frame: peer.handle(frame, 0.0)).fetch(GET)
    assert page(said) == "502 Bad Gateway: the site does not answer (refused)"


def test_a_site_that_is_silent_is_refused_in_time() -> None:
    street = Street(proxy(), without(peer_world, TCP))
    client = street.open()
    street.say(client, GET)
    street.run(until=lambda: bool(street.heard[client]), patience_s=20)
    assert page(bytes(street.heard[client])) == "504 Gateway Timeout: the site does not answer (timed out)"
    assert street.now_s == pytest.approx(7.0, abs=0.5)


def test_a_resolver_that_is_silent_is_refused_in_time_after_the_other_was_asked() -> None:
    street = Street(proxy(), without(peer_world, DNS))
    client = street.open()
    street.say(client, GET)
    street.run(until=lambda: bool(street.heard[client]), patience_s=20)
    assert page(bytes(street.heard[client])) == "504 Gateway Timeout: no resolver answers"
    asked = [Ether(each) for each in street.seen_outside if DNS in Ether(each)]
    assert [each[IPv6].dst if IPv6 in each else each[IP].dst for each in asked] == ["10.0.0.1", "2001:db8:a::1"]
    assert len({each[DNS].id for each in asked}) == len({each[UDP].sport for each in asked}) == 2


def test_answers_that_nobody_asked_for_are_not_believed() -> None:
    street = Street(proxy(), without(peer_world, DNS))
    street.say(street.open(), GET)
    asked: Any = next(Ether(each) for each in street.seen_outside if DNS in Ether(each))
    good = {"sport": 53, "dport": asked[UDP].sport}

    def told(source: str, number: int, name: str, **ports: int) -> bytes:
        message = DNS(id=number, qr=1, qd=DNSQR(qname=name), an=DNSRR(rrname=name, rdata="203.0.113.66", ttl=60))
        return bytes(Ether(src=PEER_MAC, dst=PROXY_MAC) / IP(src=source, dst=PROXY) / UDP(**ports) / message)

    number = asked[DNS].id
    for lie in (
        told("10.0.0.7", number, "www.example.com", **good),
        told("10.0.0.1", number ^ 1, "www.example.com", **good),
        told("10.0.0.1", number, "www.example.net", **good),
        told("10.0.0.1", number, "www.example.com", sport=53, dport=good["dport"] ^ 1),
        told("10.0.0.1", number, "www.example.com", sport=54, dport=good["dport"]),
    ):
        street.enter(OUTSIDE, lie)
    street.enter(INSIDE, told("10.0.0.1", number, "www.example.com", **good))
    assert not [each for each in street.seen_outside if TCP in Ether(each)]
    street.enter(OUTSIDE, told("10.0.0.1", number, "www.example.com", **good))
    assert [Ether(each)[IP].dst for each in street.seen_outside if TCP in Ether(each)] == ["203.0.113.66"]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            b"SSH-2.0-peer\r\n\r\n",
            "502 Bad Gateway: the site's answer: an answer must begin with HTTP/1.x and a status",
        ),
        (b"HTTP/1.1 200 OK\r\n", "502 Bad Gateway: the site has ended its answer too early"),
    ],
)
def test_what_is_no_answer_is_a_bad_gateway(answer: bytes, line: str) -> None:
    peer = Peer(Site(pages={80: answer}))
    assert page(Street(proxy(), lambda frame: peer.handle(frame, 0.0)).fetch(GET)) == line


def test_an_answer_that_ends_too_early_ends_with_a_reset() -> None:
    peer = Peer(Site(pages={80: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"}))
    street = Street(proxy(), lambda frame: peer.handle(frame, 0.0))
    client = street.open()
    assert street.say(client, GET).endswith(b"\r\n\r\nhello")
    assert client.end is End.RESET


ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_a_tunnel_carries_whatever_both_say_whole(question: int, answer: int) -> None:
    asks, answers = (bytes(at * 31 % 251 for at in range(size)) for size in (question, answer))
    origin = Origin(answers)
    street = Street(proxy(), origin)
    client = street.open()
    street.say(client, connect("www.example.com:443"))
    said = 0
    while said < len(asks):
        said += client.write(asks[said:])
        street.settle()
    client.shut()
    street.settle()
    assert bytes(origin.heard) == asks
    assert bytes(street.heard[client]) == ESTABLISHED + answers


def test_a_client_that_has_said_all_still_hears_the_rest() -> None:
    origin = Origin(b"y" * 100_000, answers_at=5)
    street = Street(proxy(), origin)
    client = street.open()
    street.say(client, connect("www.example.com:443"))
    client.write(b"hello")
    client.shut()
    street.settle()
    assert bytes(street.heard[client]) == ESTABLISHED + origin.say
    assert origin.connection is not None
    assert origin.connection.peer_is_done


def test_a_site_that_has_said_all_still_hears_the_rest() -> None:
    origin = Origin(b"first", closes=True)
    street = Street(proxy(), origin)
    client = street.open()
    street.say(client, connect("www.example.com:443"))
    assert client.peer_is_done
    street.say(client, b"and still " * 5_000)
    assert bytes(origin.heard) == b"and still " * 5_000


def test_an_answer_ends_with_its_length_though_the_site_stays_on_the_line() -> None:
    origin = Origin(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and a second answer", closes=False)
    street = Street(proxy(), origin)
    client = street.open()
    assert street.say(client, GET).endswith(b"\r\n\r\nhello")
    assert client.peer_is_done


def test_an_answer_before_the_end_of_an_upload_ends_it() -> None:
    origin = Origin(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", closes=False)
    street = Street(proxy(), origin)
    client = street.open()
    said = street.say(client, get("http://www.example.com/", "Content-Length: 900000", method="POST") + b"x" * 500)
    assert said.startswith(b"HTTP/1.1 401 No\r\n")
    assert origin.connection is not None
    assert origin.connection.end is End.RESET


def test_an_upload_in_chunks_goes_on_in_chunks_and_nothing_behind_them() -> None:
    origin = Origin(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", answers_at=1, closes=False)
    street = Street(proxy(), origin)
    head = get("http://www.example.com/", "Transfer-Encoding: chunked", method="POST")
    street.say(street.open(), head + b"5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
    assert bytes(origin.heard).endswith(
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )


def test_an_upload_in_bad_chunks_is_refused() -> None:
    street = Street(proxy(), Origin(closes=False))
    head = get("http://www.example.com/", "Transfer-Encoding: chunked", method="POST")
    client = street.open()
    street.say(client, head)
    said = street.say(client, b"5;x\r\n")
    assert page(said) == "400 Bad Request: a chunk must begin with its size in hexadecimal digits and CR LF"


@pytest.mark.parametrize("version", [4, 6])
def test_a_firewall_that_forbids_the_site_is_heard_at_once(version: int) -> None:
    def forbidding(frame: bytes) -> list[bytes]:
        packet = parse(frame)
        assert isinstance(packet, Frame)
        error = build.unreachable(frame, packet) if packet.protocol == 6 else None
        return [error] if error is not None else peer_world(frame)

    street = Street(proxy(), forbidding)
    said = street.fetch(GET if version == 4 else get("http://six.example.com/"))
    assert (page(said), street.now_s) == ("502 Bad Gateway: the site does not answer (refused)", 0.0)


@pytest.mark.parametrize("answers", [2, 0])
def test_a_path_that_takes_less_is_sent_less(answers: int) -> None:
    """As the VPN says it of its tunnel, with the size, to segments that are too large for it."""
    origin = Origin(closes=False)
    sizes = []

    def narrow(frame: bytes) -> list[bytes]:
        packet = parse(frame)
        assert isinstance(packet, Frame)
        sizes.append(packet.end - packet.network)
        if packet.protocol != 6 or packet.end - packet.network <= 1000:
            return origin(frame)
        quoted = frame[packet.network : packet.end][: 40 + answers]
        message = build.icmp(3, 4, (1000).to_bytes(4, "big") + quoted)
        return [build.ethernet(frame[6:12], frame[:6], 0x0800,
                               build.ipv4(int(ip_address("10.0.0.1")), packet.source, 1, message))]  # fmt: skip

    street = Street(proxy(), narrow)
    client = street.open()
    street.say(client, connect("www.example.com:443"))
    street.say(client, b"x" * 5_000)
    assert (len(origin.heard), max(sizes)) == (5_000, 1_500)
