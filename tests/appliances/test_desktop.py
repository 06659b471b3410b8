"""The user OS's program against a small internet, in lockstep with time that only deadlines move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether

from vafw.provider.model import image
from vafw.provider.peer import PAGE, PEER_MAC, Peer, Site
from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.appliance import Outcome
from vafw.traffic.frame import Frame, parse
from vafw.traffic.host import names
from vafw_appliances.desktop.guest import Host, Passage, create

USER_MAC = bytes.fromhex("525400aa0001")
HOST: dict[str, Value] = {
    "mode": "stack",
    "name": "user-os",
    "mac": "52:54:00:aa:00:01",
    "addresses": ["10.0.0.2/24", "2001:db8:a::2/64"],
    "gateway": ["10.0.0.1", "2001:db8:a::1"],
}
GET = "GET / HTTP/1.0\r\n\r\n"
Step = Mapping[str, Value]
Network = Callable[[bytes], list[bytes]]


def number(address: str) -> int:
    return int(ip_address(address))


@dataclass
class Cable:
    """A desktop and what it is plugged into, and everything that went over the cable."""

    desktop: Host
    network: Network
    now_s: float = 0.0
    log: list[bytes] = field(default_factory=list)

    def run(self) -> list[Value]:
        """Run the script to its end: time jumps to the next deadline when nothing moves any more."""
        while (deadline_s := self.desktop.deadline_s) is not None:
            self.now_s = max(self.now_s, deadline_s)
            self._carry([frame for _, frame in self.desktop.on_timer(self.now_s)])
        steps = self.desktop.report()["steps"]
        assert isinstance(steps, list)
        return steps

    def _carry(self, outgoing: list[bytes]) -> None:
        while outgoing:
            self.log.append(outgoing.pop(0))
            for answer in self.network(self.log[-1]):
                self.log.append(answer)
                outgoing += [each for _, each in self.desktop.handle("outside", answer, self.now_s).emit]


def host(*steps: Step) -> Host:
    desktop = create({**HOST, "script": [dict(each) for each in steps]})
    assert isinstance(desktop, Host)
    return desktop


def run(*steps: Step, network: Network | None = None) -> tuple[list[dict[str, Value]], Cable]:
    peer = Peer()
    desktop = host(*steps)
    cable = Cable(desktop, network or (lambda frame: peer.handle(frame, 0.0)))
    return [each for each in cable.run() if isinstance(each, dict)], cable


def test_a_name_resolves_to_its_addresses_of_both_families() -> None:
    (step,), _ = run({"resolve": "www.example.com"})
    assert (step["outcome"], step["addresses"]) == ("ok", ["198.51.100.10", "2001:db8:b::10"])


def test_a_name_that_does_not_exist_is_nxdomain() -> None:
    (step,), _ = run({"resolve": "no-such-name.example.com"})
    assert (step["outcome"], step["addresses"]) == ("nxdomain", [])


def test_a_resolver_that_never_answers_is_asked_twice_and_then_given_up() -> None:
    (step,), cable = run({"resolve": "www.example.com"}, network=only_neighbours)
    assert (step["outcome"], step["seconds"]) == ("timed out", 6.0)
    assert sum(DNS in Ether(each) for each in cable.log) == 2


def test_a_page_opens_and_is_read_whole() -> None:
    (step,), cable = run({"connect": "www.example.com", "port": 80, "send": GET, "expect": "hello"})
    assert (step["outcome"], step["address"], step["bytes"]) == ("ok", "198.51.100.10", len(PAGE))
    flags = [str(Ether(each)[TCP].flags) for each in cable.log if TCP in Ether(each)]
    assert flags == ["S", "SA", "A", "PA", "FPA", "A", "FA", "A"]


def test_a_page_opens_over_ipv6() -> None:
    (step,), cable = run({"connect": "2001:db8:b::10", "port": 80, "send": GET})
    assert (step["outcome"], step["bytes"]) == ("ok", len(PAGE))
    assert all(IPv6 in Ether(each) for each in cable.log)


def test_a_page_of_many_segments_arrives_in_order() -> None:
    page = bytes(number % 251 for number in range(50_000)) + b"the end"
    peer = Peer(Site(pages={80: page}))
    (step,), _ = run(
        {"connect": "www.example.com", "port": 80, "send": GET, "expect": "the end"},
        network=lambda frame: peer.handle(frame, 0.0),
    )
    assert (step["outcome"], step["bytes"]) == ("ok", len(page))


def test_segments_in_the_wrong_order_are_put_in_order() -> None:
    page = bytes(5_000) + b"the end"
    peer = Peer(Site(pages={80: page}))
    (step,), _ = run(
        {"connect": "www.example.com", "port": 80, "send": GET, "expect": "the end"},
        network=lambda frame: peer.handle(frame, 0.0)[::-1],
    )
    assert (step["outcome"], step["bytes"]) == ("ok", len(page))


def test_another_answer_than_expected_is_unexpected() -> None:
    (step,), _ = run({"connect": "www.example.com", "port": 80, "send": GET, "expect": "404"})
    assert step["outcome"] == "unexpected"


def test_a_closed_port_is_refused_by_its_reset() -> None:
    (step,), _ = run({"connect": "www.example.com", "port": 8080})
    assert (step["outcome"], step["seconds"]) == ("refused", 0.0)


@pytest.mark.parametrize("host", ["198.51.100.10", "2001:db8:b::10"])
def test_a_port_that_a_firewall_prohibits_is_refused_by_its_icmp_error(host: str) -> None:
    (step,), _ = run({"connect": host, "port": 22}, network=prohibiting)
    assert (step["outcome"], step["seconds"]) == ("refused", 0.0)


def test_a_host_that_is_silent_is_tried_three_times_and_times_out() -> None:
    (step,), cable = run({"connect": "192.0.2.7", "port": 80})
    assert (step["outcome"], step["seconds"]) == ("timed out", 7.0)
    assert sum(TCP in Ether(each) for each in cable.log) == 3


def test_a_request_that_is_lost_once_is_sent_again() -> None:
    (step,), _ = run({"connect": "www.example.com", "port": 80, "send": GET}, network=Losing(b"GET /").handle)
    assert (step["outcome"], step["bytes"]) == ("ok", len(PAGE))


def test_pings_are_answered_over_both_families() -> None:
    steps, _ = run({"ping": "10.0.0.1"}, {"ping": "2001:db8:b::10"}, {"ping": "192.0.2.1"})
    assert [each["outcome"] for each in steps] == ["ok", "ok", "timed out"]


def test_the_timer_rests_when_the_script_is_over() -> None:
    _, cable = run({"ping": "10.0.0.1"})
    assert (host({"ping": "10.0.0.1"}).timer_period_s, cable.desktop.timer_period_s) == (0.1, 3600.0)


def test_a_host_without_an_address_says_so() -> None:
    assert create({**HOST, "addresses": []}).probe() == (False, "it has no address")
    assert create(HOST).probe() == (True, "its addresses are 10.0.0.2/24, 2001:db8:a::2/64")


def test_a_step_without_a_route_ends_at_once() -> None:
    desktop = create({**HOST, "addresses": ["10.0.0.2/24"], "gateway": [], "script": [{"ping": "192.0.2.1"}]})
    assert isinstance(desktop, Host)
    ((step,),) = [Cable(desktop, lambda frame: []).run()]
    assert step == {"ping": "192.0.2.1", "outcome": "no route", "seconds": 0.0}


def test_the_measured_image_runs_as_the_folder_does() -> None:
    program = image.program(image.load(Path(__file__).parents[2] / "appliances/vafw_appliances/desktop"))
    desktop = program.create({"mode": "replay"})
    assert desktop.handle("user", b"a frame", 0.0).emit == (("outside", b"a frame"),)
    assert len(desktop.draw().rgb) == 800 * 600 * 3


def test_a_request_of_many_segments_is_pushed_once() -> None:
    (step,), cable = run({"connect": "www.example.com", "port": 80, "send": "x" * 4_000})
    sent = [Ether(each)[TCP] for each in cable.log if each[6:12] == USER_MAC and TCP in Ether(each)]
    pushed = [bool(each.flags.P) for each in sent if len(each.payload)]
    assert (step["outcome"], step["bytes"]) == ("ok", len(PAGE))
    assert pushed == [False, False, True]


def test_two_runs_send_the_same_frames() -> None:
    script: list[Step] = [{"resolve": "www.example.com"}, {"connect": "www.example.com", "port": 80, "send": GET}]
    assert run(*script)[1].log == run(*script)[1].log


def test_an_arp_request_for_its_address_is_answered() -> None:
    asked = build.arp_request(PEER_MAC, number("10.0.0.1"), number("10.0.0.2"))
    ((port, reply),) = create(HOST).handle("outside", asked, 0.0).emit
    assert port == "outside"
    assert (Ether(reply)[ARP].op, Ether(reply)[ARP].hwsrc, Ether(reply).dst) == (
        2,
        "52:54:00:aa:00:01",
        "52:54:00:bb:00:01",
    )


def test_a_neighbour_solicitation_for_its_address_is_answered() -> None:
    asked = build.neighbour_solicitation(PEER_MAC, number("2001:db8:a::1"), number("2001:db8:a::2"))
    ((_, reply),) = create(HOST).handle("outside", asked, 0.0).emit
    assert (Ether(reply)[ICMPv6ND_NA].tgt, Ether(reply)[IPv6].hlim) == ("2001:db8:a::2", 255)


def test_an_echo_request_is_answered_with_the_same_data() -> None:
    asked = bytes(from_wire() / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=7, seq=3) / b"data")
    ((_, reply),) = create(HOST).handle("outside", asked, 0.0).emit
    assert (Ether(reply)[ICMP].type, Ether(reply)[ICMP].id, bytes(Ether(reply)[ICMP].payload)) == (0, 7, b"data")


def test_an_echo_request_over_ipv6_is_answered() -> None:
    body = b"\0\7\0\3data"
    source, own = number("2001:db8:a::1"), number("2001:db8:a::2")
    packet = build.ipv6(source, own, 58, build.icmpv6(source, own, 128, 0, body))
    ((_, reply),) = create(HOST).handle("outside", build.ethernet(USER_MAC, PEER_MAC, 0x86DD, packet), 0.0).emit
    assert Ether(reply)[ICMPv6EchoReply].data == b"data"


def test_a_segment_that_nobody_waits_for_is_met_with_a_reset() -> None:
    asked = bytes(from_wire() / IP(src="203.0.113.20", dst="10.0.0.2") / TCP(dport=22, flags="S"))
    ((_, reply),) = create(HOST).handle("outside", asked, 0.0).emit
    assert str(Ether(reply)[TCP].flags) == "RA"


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="10.0.0.1", dst="10.0.0.3") / ICMP(),
        IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(chksum=1),
        IP(src="10.0.0.1", dst="10.0.0.2", chksum=1) / ICMP(),
        IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / ICMP() / bytes(8),
        IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=53),
        IP(src="10.0.0.1", dst="10.0.0.2") / TCP(flags="R"),
    ],
    ids=["another's", "bad ICMP sum", "bad IP sum", "fragment", "closed UDP port", "reset"],
)
def test_what_must_not_be_answered_is_not(packet: IP) -> None:
    assert create(HOST).handle("outside", bytes(from_wire() / packet), 0.0).emit == ()


def test_a_mac_address_that_was_not_asked_for_is_not_believed() -> None:
    desktop = host({"ping": "10.0.0.1"})
    liar = ARP(op=2, hwsrc="02:00:00:00:00:66", psrc="10.0.0.1", hwdst="52:54:00:aa:00:01", pdst="10.0.0.2")
    desktop.handle("outside", bytes(from_wire() / liar), 0.0)
    ((_, asked),) = desktop.on_timer(0.0)
    assert Ether(asked)[ARP].op == 1


@pytest.mark.parametrize("mode", ["replay", "bridge"])
def test_frames_of_another_machine_pass_unchanged_both_ways(mode: str) -> None:
    desktop = create({"mode": mode})
    out = desktop.handle("user", b"a frame of the user", 1.0)
    back = desktop.handle("outside", b"a frame for the user", 2.0)
    assert (out.outcome, out.emit) == (Outcome.PASSED, (("outside", b"a frame of the user"),))
    assert (back.outcome, back.emit) == (Outcome.PASSED, (("user", b"a frame for the user"),))
    assert not hasattr(desktop, "on_timer")


def test_the_journal_of_another_machine_says_what_came_of_its_deeds() -> None:
    steps: list[Step] = [
        {"ping": "10.0.0.1"},
        {"connect": "www.example.com", "port": 80, "send": GET},
        {"resolve": "no.such"},
    ]
    watcher = create({"mode": "replay"})
    for frame in run(*steps, {"connect": "www.example.com", "port": 8080}, {"ping": "192.0.2.1"})[1].log:
        watcher.handle("user" if frame[6:12] == USER_MAC else "outside", frame, 0.0)
    assert [(each["kind"], each["subject"], each["outcome"]) for each in activity(watcher)] == [
        ("ping", "10.0.0.1", "answered"),
        ("name", "www.example.com", "198.51.100.10, 2001:db8:b::10"),
        ("web", "www.example.com", f"{len(PAGE)} bytes"),
        ("name", "no.such", "no such name"),
        ("tcp", "www.example.com port 8080", "refused"),
        ("ping", "192.0.2.1", "no answer"),
    ]


def test_an_icmp_error_is_laid_to_the_deed_that_it_quotes() -> None:
    watcher = create({"mode": "replay"})
    for port in (123, 443):
        asked = bytes(to_wire() / IP(src="10.0.0.2", dst="203.0.113.20") / UDP(sport=4000, dport=port) / b"12345678")
        packet = parse(asked)
        assert isinstance(packet, Frame)
        error = build.unreachable(asked, packet)
        watcher.handle("user", asked, 0.0)
    watcher.handle("outside", error or b"", 0.0)
    assert [(each["kind"], each["outcome"]) for each in activity(watcher)] == [
        ("time", "no answer"),
        ("web", "refused"),
    ]


def test_the_journal_forgets_the_oldest_first() -> None:
    watcher = create({"mode": "replay"})
    for port in range(5_000, 5_600):
        watcher.handle("user", bytes(to_wire() / IP(src="10.0.0.2", dst="203.0.113.20") / UDP(dport=port)), 0.0)
    assert [each["subject"] for each in activity(watcher)][-1] == "203.0.113.20 port 5599"
    assert (len(activity(watcher)), watcher.report()["frames-out"]) == (100, 600)


def test_a_caller_that_gets_through_is_noticed() -> None:
    watcher = create({"mode": "replay"})
    watcher.handle(
        "outside", bytes(from_wire() / IP(src="203.0.113.20", dst="10.0.0.2") / TCP(dport=22, flags="S")), 0.0
    )
    assert [(each["kind"], each["good"]) for each in activity(watcher)] == [("caller", False)]


def test_the_screen_is_drawn_from_the_journal() -> None:
    empty = create(HOST).draw()
    full = run({"ping": "10.0.0.1"}, {"ping": "192.0.2.1"}, {"resolve": "no.such"})[1].desktop.draw()
    assert (full.width, full.height, len(full.rgb)) == (800, 600, 800 * 600 * 3)
    assert full.rgb != empty.rgb


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "fast"}, "mode must be one of stack, replay, bridge, not 'fast'"),
        ({"mac": "52:54"}, "mac must be six bytes as aa:bb:cc:dd:ee:ff, not '52:54'"),
        ({"gateway": 7}, "gateway must be a list of addresses, not 7"),
        ({"script": "ping"}, "script must be a list of steps, not 'ping'"),
        (
            {"script": [{"pong": "x"}]},
            "a step of the script must have one of resolve, connect and ping, not {'pong': 'x'}",
        ),
        ({"script": [{"connect": "x"}]}, "a connect step must have a port from 1 to 65535, not None"),
        ({"script": [{"connect": "x", "port": 0}]}, "a connect step must have a port from 1 to 65535, not 0"),
        (
            {"script": [{"resolve": "a..b"}]},
            "a name must be labels of 1 to 63 ASCII characters, 253 in all, not 'a..b'",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: dict[str, Value], message: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        create({**HOST, **config})
    assert str(caught.value) == message


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(frame: bytes) -> None:
    desktop = host({"resolve": "www.example.com"})
    desktop.on_timer(0.0)
    desktop.handle("outside", frame, 0.0)
    desktop.handle("outside", USER_MAC + frame, 0.0)


@settings(deadline=None)
@given(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_damaged_answer_makes_it_raise(which: int, damage: list[tuple[int, int]]) -> None:
    desktop = host({"connect": "www.example.com", "port": 80, "send": GET})
    frames = [bytearray(each) for each in ANSWERS]
    for at, value in damage:
        frames[which][min(at, len(frames[which]) - 1)] = value
    desktop.on_timer(0.0)
    for frame in frames:
        desktop.handle("outside", bytes(frame), 0.0)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_dns_message_or_none(data: bytes) -> None:
    assert names.read(data) is None or isinstance(names.read(data), names.Message)


def test_a_dns_name_that_points_at_itself_is_none() -> None:
    assert names.read(b"\x12\x34\x81\x80\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1") is None


def activity(desktop: Host | Passage) -> list[dict[str, Value]]:
    entries = desktop.report()["activity"]
    assert isinstance(entries, list)
    return [each for each in entries if isinstance(each, dict)]


def from_wire() -> Ether:
    return Ether(src="52:54:00:bb:00:01", dst="52:54:00:aa:00:01")


def to_wire() -> Ether:
    return Ether(src="52:54:00:aa:00:01", dst="52:54:00:bb:00:01")


def only_neighbours(frame: bytes) -> list[bytes]:
    return [answer for answer in Peer().handle(frame, 0.0) if ARP in Ether(answer)]


def prohibiting(frame: bytes) -> list[bytes]:
    packet = parse(frame)
    assert isinstance(packet, Frame)
    error = build.unreachable(frame, packet) if packet.protocol == 6 else None
    return [error] if error is not None else Peer().handle(frame, 0.0)


@dataclass
class Losing:
    """A network that loses the first frame with certain bytes in it."""

    needle: bytes
    lost: int = 0

    def handle(self, frame: bytes) -> list[bytes]:
        now_lost = self.lost == 0 and self.needle in frame
        self.lost += now_lost
        return [] if now_lost else Peer().handle(frame, 0.0)


ANSWERS = [
    frame for frame in run({"connect": "www.example.com", "port": 80, "send": GET})[1].log if frame[6:12] == PEER_MAC
][:4]
