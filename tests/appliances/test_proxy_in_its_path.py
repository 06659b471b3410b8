"""The proxy in its path: what passes by it, what is bounded, other lists, and whatever bytes come from both sides."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from tests.appliances.proxy_street import (
    CONFIG,
    GET,
    OK,
    PORT,
    PROXY,
    PROXY6,
    PROXY_MAC,
    USER_MAC,
    Origin,
    Street,
    connect,
    get,
    latest,
    page,
    peer_world,
    proxy,
)
from vafw.provider.model import image
from vafw.provider.peer import PAGE, PEER_MAC
from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome
from vafw.traffic.frame import ACK, SYN, Frame, parse
from vafw.traffic.host.inflow import WINDOW_BYTES
from vafw.traffic.host.outflow import BUFFER_BYTES
from vafw.traffic.host.tcp import End, State
from vafw_appliances.proxy.guest import FORGED, MALFORMED, PASSED, create
from vafw_appliances.proxy.network import MOST_CONNECTIONS
from vafw_appliances.proxy.session import ANSWER_PATIENCE_S, CLOSE_PATIENCE_S, HEAD_PATIENCE_S, IDLE_S

# -- the path ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [INSIDE, OUTSIDE])
@pytest.mark.parametrize(
    "frame",
    [
        Ether() / IP(src="10.0.0.2", dst="198.51.100.10") / TCP(dport=PORT),
        Ether() / IP(src="10.0.0.2", dst="10.0.0.1") / UDP(dport=53) / DNS(qd=DNSQR(qname="x.example")),
        Ether() / ARP(psrc="10.0.0.2", pdst="10.0.0.1"),
        Ether() / Dot1Q(vlan=7) / IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(),
        Ether() / IPv6(src="2001:db8:a::2", dst="ff02::1") / UDP(dport=5353),
        Ether(type=0x88CC) / b"lldp",
        Ether() / IP(src="10.0.0.2", dst="10.0.0.1", flags="MF") / UDP() / bytes(16),
    ],
    ids=lambda each: each.summary()[:40],
)
def test_what_is_not_for_the_proxy_passes_unchanged(frame: Ether, port: str) -> None:
    data = bytes(frame)
    verdict = proxy().handle(port, data, 0.0)
    other = OUTSIDE if port == INSIDE else INSIDE
    assert (verdict.outcome, verdict.rule, verdict.emit) == (Outcome.PASSED, PASSED, ((other, data),))


@pytest.mark.parametrize("port", [INSIDE, OUTSIDE])
@pytest.mark.parametrize(
    "frame",
    [
        Ether() / IP(src=PROXY, dst="198.51.100.10") / TCP(dport=443),
        Ether() / Dot1Q(vlan=7) / IP(src=PROXY, dst="198.51.100.10") / TCP(dport=443),
        Ether() / IP(src=PROXY, dst="198.51.100.10", frag=8) / bytes(16),
        Ether() / IPv6(src=PROXY6, dst="2001:db8:b::10") / UDP(dport=443),
        Ether() / IP(src=PROXY, dst=PROXY) / UDP(dport=53),
        Ether(src=PROXY_MAC.hex(":")) / IP(src="10.0.0.2", dst="198.51.100.10") / UDP(),
        Ether() / ARP(op=2, hwsrc="02:00:00:00:00:66", psrc=PROXY, pdst="10.0.0.1"),
        Ether() / ARP(op=1, hwsrc="02:00:00:00:00:66", psrc=PROXY, pdst=PROXY),
        Ether() / IPv6(src="2001:db8:a::2", dst="2001:db8:a::1", hlim=255) / ICMPv6ND_NA(tgt=PROXY6)
        / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:66"),
    ],
    ids=lambda each: each.summary()[:60],
)  # fmt: skip
def test_what_bears_the_proxys_address_is_dropped(frame: Ether, port: str) -> None:
    verdict = proxy().handle(port, bytes(frame), 0.0)
    assert (verdict.outcome, verdict.rule, verdict.emit) == (Outcome.DROPPED, FORGED, ())


def test_what_cannot_be_read_is_dropped() -> None:
    assert proxy().handle(INSIDE, bytes(Ether() / IP(src="10.0.0.2", dst="10.0.0.1", chksum=1)), 0.0).rule == MALFORMED
    assert proxy().handle(INSIDE, b"short", 0.0).rule == MALFORMED


@pytest.mark.parametrize("port", [INSIDE, OUTSIDE])
def test_neighbours_are_answered_on_both_sides(port: str) -> None:
    own, own6 = (int(ip_address(each)) for each in (PROXY, PROXY6))
    asks = (
        build.arp_request(USER_MAC, int(ip_address("10.0.0.2")), own),
        build.neighbour_solicitation(USER_MAC, int(ip_address("2001:db8:a::2")), own6),
    )
    for asked in asks:
        ((leaves_by, answer),) = proxy().handle(port, asked, 0.0).emit
        assert (leaves_by, answer[6:12], answer[:6]) == (port, PROXY_MAC, USER_MAC)


@pytest.mark.parametrize("port", [INSIDE, OUTSIDE])
def test_a_ping_is_answered_on_both_sides(port: str) -> None:
    asked = bytes(Ether(src=USER_MAC, dst=PROXY_MAC) / IP(src="10.0.0.2", dst=PROXY) / ICMP(id=7) / b"data")
    ((leaves_by, answer),) = proxy().handle(port, asked, 0.0).emit
    assert (leaves_by, Ether(answer)[ICMP].type, Ether(answer)[IP].src) == (port, 0, PROXY)


def test_nobody_opens_a_connection_from_outside() -> None:
    syn = bytes(Ether(src=PEER_MAC, dst=PROXY_MAC) / IP(src="10.0.0.2", dst=PROXY) / TCP(dport=PORT, flags="S"))
    assert proxy().handle(OUTSIDE, syn, 0.0).emit == ()


def test_another_port_is_closed() -> None:
    street = Street(proxy())
    client = street.open(port=80)
    street.run()
    assert client.end is End.REFUSED


def test_a_host_that_is_not_on_the_link_is_refused() -> None:
    street = Street(proxy(clients=["0.0.0.0/0"]))
    syn = bytes(Ether(src=USER_MAC, dst=PROXY_MAC) / IP(src="172.16.0.2", dst=PROXY) / TCP(dport=PORT, flags="S"))
    ((_, answer),) = street.proxy.handle(INSIDE, syn, 0.0).emit
    assert str(Ether(answer)[TCP].flags) == "RA"


# -- what is bounded --------------------------------------------------------------------------------------------


def test_no_more_clients_are_taken_than_there_is_room_for() -> None:
    street = Street(proxy())
    clients = [street.open()]
    street.settle()  # the neighbours know each other from here on
    clients += [street.open() for _ in range(MOST_CONNECTIONS + 2)]
    street.settle()
    assert [each.state for each in clients].count(State.ESTABLISHED) == MOST_CONNECTIONS
    assert [each.end for each in clients].count(End.REFUSED) == 3
    assert street.proxy.report()["turned-away"] == 3
    clients[0].abort()
    street.settle()
    assert street.fetch(GET).startswith(OK)


def test_those_who_have_closed_make_room_for_others() -> None:
    street = Street(proxy())
    for _ in range(MOST_CONNECTIONS + 10):
        assert street.fetch(GET).startswith(OK)
    report: Any = street.proxy.report()
    assert (report["turned-away"], report["open"]) == (0, MOST_CONNECTIONS)
    street.wait(5)
    assert street.proxy.report()["open"] == 0


def test_a_client_that_reads_slowly_gets_the_rest_after_the_site_has_closed() -> None:
    body = b"z" * 120_000
    street = Street(proxy(), Origin(b"HTTP/1.1 200 OK\r\n\r\n" + body))
    client, heard = street.open(), bytearray()
    street.reads = False
    street.say(client, GET)
    while not client.peer_is_done and street.now_s < 400:
        street.wait(CLOSE_PATIENCE_S - 1)
        heard += client.read(8_000)
        street.settle()
    assert bytes(heard).endswith(body)


def test_a_head_that_dribbles_is_not_waited_for_longer_than_others() -> None:
    street = Street(proxy())
    client = street.open()
    street.settle()
    for _ in range(int(HEAD_PATIENCE_S) - 1):
        street.say(client, b"G")
        street.wait(1.0)
    assert client.is_open
    street.wait(1.5)
    assert client.end is End.RESET
    assert latest(street) == [("refused", "the head is not there in time")]


def test_an_origin_that_has_the_request_and_says_nothing_is_late() -> None:
    street = Street(proxy(), acknowledging)
    client = street.open()
    street.say(client, GET)
    street.run(until=lambda: bool(street.heard[client]), patience_s=ANSWER_PATIENCE_S + 5)
    assert page(bytes(street.heard[client])) == "504 Gateway Timeout: the site does not answer in time"
    assert street.now_s == pytest.approx(ANSWER_PATIENCE_S, abs=0.5)


def test_a_tunnel_that_nobody_uses_is_cut() -> None:
    street = Street(proxy(), tunnel_world)
    client = street.open()
    street.say(client, connect("www.example.com:443"))
    street.wait(IDLE_S - 1)
    assert client.is_open
    street.wait(2)
    assert client.end is End.RESET


def test_a_client_that_does_not_close_is_cut() -> None:
    street = Street(proxy())
    client = street.open()
    street.say(client, GET)
    assert client.state is State.CLOSE_WAIT
    street.wait(CLOSE_PATIENCE_S + 1)
    assert client.end is End.RESET
    street.wait(5)
    assert street.proxy.report()["open"] == 0


def test_an_upload_waits_where_the_origin_takes_nothing() -> None:
    street = Street(proxy(), tunnel_world)
    client = street.open()
    street.say(client, connect("www.example.com:443"))
    written = 0
    for _ in range(20):
        written += client.write(b"x" * 60_000)
        street.settle()
    assert written <= 2 * (WINDOW_BYTES + BUFFER_BYTES)


def acknowledging(frame: bytes) -> list[bytes]:
    """The small internet, whose servers take everything and say nothing."""
    packet = parse(frame)
    assert isinstance(packet, Frame)
    if packet.protocol == 6 and not packet.flags & SYN:
        return [build.tcp_answer(frame, packet, ACK)] if packet.end > packet.payload else []
    return peer_world(frame)


def tunnel_world(frame: bytes) -> list[bytes]:
    """The small internet, whose servers open connections and then acknowledge nothing."""
    packet: Any = Ether(frame)
    return [] if TCP in packet and packet[TCP].flags != "S" else peer_world(frame)


# -- configuration ----------------------------------------------------------------------------------------------


def test_other_lists_let_go_on_what_they_allow_and_cut_the_rest() -> None:
    street = Street(proxy(), tunnel_world)
    kept, cut = street.open(), street.open()
    street.say(kept, connect("www.example.com:443"))
    street.say(cut, connect("news.example.org:443"))
    before = street.proxy
    street.proxy = before.reconfigured({**CONFIG, "allow": ["www.example.com"]})
    assert (kept.is_open, cut.is_open) == (True, True)
    street._carry(list(street.proxy.start(street.now_s)))
    street.settle()
    assert (kept.end, cut.end) == (None, End.RESET)
    assert latest(street)[-1] == ("refused", "not allowed any more: not in allow")
    assert page(street.fetch(get("http://news.example.org/"))) == "403 Forbidden: not in allow"


def test_another_configuration_that_is_refused_changes_nothing() -> None:
    street = Street(proxy())
    with pytest.raises(ValueError, match=r"^a host name must be like"):
        street.proxy.reconfigured({**CONFIG, "allow": ["no name"]})
    assert street.fetch(GET).startswith(OK)


def test_another_station_begins_anew() -> None:
    street = Street(proxy())
    street.open()
    street.settle()
    assert street.proxy.reconfigured({**CONFIG, "port": 8080}).report()["open"] == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mac": "01:00:00:00:00:01"}, "mac must be the MAC address of one card, not '01:00:00:00:00:01'"),
        ({"addresses": []}, "addresses must name at least one, as the proxy asks the web in its own name"),
        ({"port": 0}, "port must be an integer from 1 to 65535, not 0"),
        ({"allow": "x"}, "allow must be a list, not 'x'"),
        ({"block": ["x"]}, "a host name must be like www.example.com or *.example.com, not 'x'"),
        ({"cache": True}, "the proxy's config must have no keys but addresses, allow, block, clients, gateway, mac, "
                          "port, resolvers, not 'cache'"),
    ],
)  # fmt: skip
def test_a_configuration_that_makes_no_sense_is_refused(config: dict[str, Value], message: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        create({**CONFIG, **config})
    assert str(caught.value) == message


def test_a_proxy_without_a_way_out_is_not_healthy() -> None:
    lost = proxy(gateway=[], resolvers=[])
    assert lost.probe() == (False, "it has no resolver or no gateway, so no site can be reached")
    assert proxy(block=["*.ads.example.net"], allow=["a.example.com"]).probe() == (
        True, f"it listens at {PROXY}, {PROXY6} port {PORT}; 1 sites are allowed, 1 blocked")  # fmt: skip


def test_the_report_counts_connections_requests_and_bytes() -> None:
    street = Street(proxy(block=["news.example.org"]))
    street.fetch(GET)
    street.fetch(get("http://news.example.org/"))
    street.wait(CLOSE_PATIENCE_S + 5)
    report: Any = street.proxy.report()
    assert (report["connections"], report["open"]) == (2, 0)
    assert report["requests"] == {"allowed": 1, "blocked": 1, "refused": 0}
    assert report["blocked"] == {"block news.example.org": 1}
    assert report["bytes-to-clients"] > len(PAGE)
    assert report["bytes-to-origins"] > 0


def test_the_measured_image_runs_as_the_folder_does() -> None:
    program = image.program(image.load(Path(__file__).parents[2] / "appliances/vafw_appliances/proxy"))
    assert program.create(CONFIG).probe()[0]


# -- hostile bytes ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([INSIDE, OUTSIDE]), st.binary(max_size=120), st.booleans())
def test_no_bytes_make_it_raise(port: str, data: bytes, is_ip: bool) -> None:
    program = proxy()
    program.handle(port, data, 0.0)
    program.handle(port, PROXY_MAC + USER_MAC + (b"\x08\x00\x45" if is_ip else b"\x86\xdd\x60") + data, 0.0)
    packet = build.ipv4(int(ip_address("10.0.0.2")), int(ip_address(PROXY)), 6 if is_ip else 17, data)
    program.handle(port, build.ethernet(PROXY_MAC, USER_MAC, 0x0800, packet), 0.0)
    program.on_timer(1.0)
    program.report()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_damaged_frame_of_the_world_makes_it_raise(damage: list[tuple[int, int, int]]) -> None:
    frames = 0

    def damaged(frame: bytes) -> list[bytes]:
        nonlocal frames
        answers = [bytearray(each) for each in peer_world(frame)]
        for answer in answers:
            frames += 1
            for which, at, value in damage:
                if which % 6 == frames % 6:
                    answer[14 + at % (len(answer) - 14)] = value
        return list(map(bytes, answers))

    street = Street(proxy(), damaged)
    street.fetch(GET)
    street.wait(10)
    assert all("raised" not in each.log for each in street.verdicts)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_whatever_a_client_says_it_gets_an_answer_of_http_or_none(parts: list[bytes]) -> None:
    street = Street(proxy())
    client = street.open()
    street.settle()
    for part in parts:
        street.say(client, part)
    street.wait(HEAD_PATIENCE_S + 1)
    said = bytes(street.heard[client])
    assert not said or said.startswith(b"HTTP/1.")
