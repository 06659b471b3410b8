"""The firewall with two ways to the wire: which one a connection leaves by, comes back by, and falls back on."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict, uplink_port
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.packet import TCP as TCP_NUMBER
from vafw.traffic.packet import ServiceMatch
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw_appliances.firewall.guest import MultihomedFirewall, create

SECOND = uplink_port(1)
INNER, USER = "02:00:00:00:00:02", "02:00:00:00:00:77"
OUTER = {OUTSIDE: "52:54:00:00:00:01", SECOND: "52:54:00:00:00:02"}
BOX = {OUTSIDE: "52:54:00:00:00:fe", SECOND: "52:54:00:00:00:fd"}
OWN = {OUTSIDE: "10.0.0.2", SECOND: "10.1.0.2"}
GATEWAY = {OUTSIDE: "10.0.0.1", SECOND: "10.1.0.1"}
SERVER = "198.51.100.10"
ANY = (Selector(None, AddressSet.everything()),)
FROM_USER = (Selector(INSIDE, AddressSet.everything()),)
HOST = (Selector(INSIDE, AddressSet.from_texts(["192.168.77.2"])),)
WEB = PortForward("web", TCP_NUMBER, (8080, 8080), 4, int.from_bytes(bytes([192, 168, 77, 2]), "big"), 80)
BULK = (ServiceMatch(TCP_NUMBER, ((873, 873),)),)
RULES = Ruleset(
    (
        Rule("bulk", FROM_USER, ANY, BULK, Action.MARK, mark=7),
        Rule("out", FROM_USER, ANY, (), Action.ACCEPT),
        Rule("web", ANY, HOST, (), Action.ACCEPT),
    ),
    Action.DROP,
    nat=Nat(AddressSet.from_texts(["192.168.77.0/24", "fd77::/64"]), (WEB,)),
)
ROUTER: dict[str, Any] = {
    "outside": {"mac": OUTER[OUTSIDE], "addresses": ["10.0.0.2/24"], "gateway": ["10.0.0.1"]},
    "inside": {"mac": INNER, "addresses": ["192.168.77.1/24", "fd77::1/64"]},
    "uplinks": [
        {"mac": OUTER[SECOND], "addresses": ["10.1.0.2/24", "2001:db8:c::2/64"],
         "gateway": ["10.1.0.1", "2001:db8:c::1"], "marks": [7]},
    ],
}  # fmt: skip


def multihomed(program: PacketAppliance) -> MultihomedFirewall:
    assert isinstance(program, MultihomedFirewall)
    return program


class Bench:
    """A router with two boxes before it and a user behind it, all of whom it knows."""

    def __init__(self) -> None:
        self.program = multihomed(create({"ruleset": RULES.to_config(), "router": ROUTER}))
        self.now_s = 0.0
        self.asked = list(self.program.start(0.0))
        for port in (OUTSIDE, SECOND):
            self.send(41000, 873 if port == SECOND else 80)
            self.box_answers(port)
            self.reply(port, 41000, 873 if port == SECOND else 80)
        self.feed(INSIDE, said(USER, "192.168.77.2", INNER, "192.168.77.1"))

    def feed(self, port: str, frame: Any) -> Verdict:
        return self.program.handle(port, bytes(frame), self.now_s)

    def box_answers(self, port: str) -> Verdict:
        return self.feed(port, said(BOX[port], GATEWAY[port], OUTER[port], OWN[port]))

    def send(self, source_port: int, port: int) -> tuple[str, Any]:
        """The user opens a connection; where and as what its first packet leaves."""
        packet = IP(src="192.168.77.2", dst=SERVER) / TCP(sport=source_port, dport=port, flags="S")
        verdict = self.feed(INSIDE, Ether(src=USER, dst=INNER) / packet)
        ((leaves_by, frame),) = verdict.emit
        return leaves_by, Ether(frame)

    def reply(self, came_by: str, source_port: int, port: int, own: str = "") -> Verdict:
        packet = IP(src=SERVER, dst=own or OWN[came_by]) / TCP(sport=port, dport=source_port, flags="SA", ack=1)
        return self.feed(came_by, Ether(src=BOX[came_by], dst=OUTER[came_by]) / packet)

    def seconds_pass(self, seconds: int, *alive: str) -> list[tuple[str, bytes]]:
        """So many, in which these boxes answer whenever they are asked."""
        asked: list[tuple[str, bytes]] = []
        for _ in range(seconds):
            self.now_s += 1.0
            asked = list(self.program.on_timer(self.now_s))
            for port in alive:
                self.box_answers(port)
        return asked

    def uplinks(self) -> list[bool]:
        router: Any = self.program.report()["router"]
        return [each["up"] for each in router["uplinks"]]

    def open_connections(self) -> int:
        connections: Any = self.program.report()["connections"]
        return int(connections["open"])


def said(mac: str, address: str, to_mac: str, to: str) -> Any:
    return Ether(src=mac, dst=to_mac) / ARP(op="is-at", hwsrc=mac, psrc=address, hwdst=to_mac, pdst=to)


def test_every_next_hop_is_asked_by_its_own_card() -> None:
    asked = [(port, Ether(frame)) for port, frame in Bench().asked]
    assert [(port, frame[ARP].psrc, frame[ARP].pdst) for port, frame in asked if ARP in frame] == [
        (OUTSIDE, "10.0.0.2", "10.0.0.1"),
        (SECOND, "10.1.0.2", "10.1.0.1"),
    ]
    assert [(port, frame[ICMPv6ND_NS].tgt) for port, frame in asked if IPv6 in frame] == [(SECOND, "2001:db8:c::1")]


def test_a_mark_chooses_the_uplink_and_each_hides_sources_behind_its_own_address() -> None:
    bench = Bench()
    for port, leaves_by in ((443, OUTSIDE), (873, SECOND)):
        found, frame = bench.send(42000, port)
        assert (found, frame.src, frame.dst) == (leaves_by, OUTER[leaves_by], BOX[leaves_by])
        assert frame[IP].src == OWN[leaves_by]


def test_an_answer_comes_back_by_the_uplink_that_was_asked_and_by_no_other() -> None:
    bench = Bench()
    bench.send(42000, 873)
    astray = bench.reply(OUTSIDE, 42000, 873, own=OWN[SECOND])
    assert (astray.outcome, astray.rule) == (Outcome.DROPPED, "(spoofed)")
    ((port, frame),) = bench.reply(SECOND, 42000, 873).emit
    assert (port, Ether(frame)[IP].dst, Ether(frame).dst) == (INSIDE, "192.168.77.2", USER)


def test_an_error_about_a_connection_comes_by_its_uplink_too() -> None:
    bench = Bench()
    _, sent = bench.send(42000, 873)
    quoted = bytes(sent[IP])[:28]

    def error(port: str) -> Verdict:
        packet = IP(src="203.0.113.9", dst=OWN[SECOND]) / ICMP(type=3, code=1) / Raw(quoted)
        return bench.feed(port, Ether(src=BOX[port], dst=OUTER[port]) / packet)

    assert error(OUTSIDE).outcome is Outcome.DROPPED
    ((_, frame),) = error(SECOND).emit
    told = Ether(frame)
    assert (told[IPerror].src, told[TCPerror].sport) == ("192.168.77.2", 42000)


@pytest.mark.parametrize("port", [OUTSIDE, SECOND])
def test_a_forwarded_port_is_reached_by_every_uplink_and_answered_by_the_same(port: str) -> None:
    bench = Bench()
    knock = IP(src="203.0.113.9", dst=OWN[port]) / TCP(sport=5555, dport=8080, flags="S", seq=100)
    ((inwards, frame),) = bench.feed(port, Ether(src=BOX[port], dst=OUTER[port]) / knock).emit
    assert (inwards, Ether(frame)[IP].dst, Ether(frame)[TCP].dport) == (INSIDE, "192.168.77.2", 80)
    answer = IP(src="192.168.77.2", dst="203.0.113.9") / TCP(sport=80, dport=5555, flags="SA", ack=101)
    ((back_by, frame),) = bench.feed(INSIDE, Ether(src=USER, dst=INNER) / answer).emit
    assert (back_by, Ether(frame)[IP].src, Ether(frame)[TCP].sport) == (port, OWN[port], 8080)


def test_a_packet_to_the_address_of_the_other_uplink_is_led_nowhere() -> None:
    knock = IP(src="203.0.113.9", dst=OWN[SECOND]) / TCP(sport=5555, dport=8080, flags="S")
    verdict = Bench().feed(OUTSIDE, Ether(src=BOX[OUTSIDE], dst=OUTER[OUTSIDE]) / knock)
    assert (verdict.outcome, verdict.emit) == (Outcome.DROPPED, ())


def test_new_connections_take_the_other_uplink_while_one_is_down_and_it_is_logged() -> None:
    bench = Bench()
    bench.seconds_pass(4, SECOND)
    assert bench.uplinks() == [False, True]
    leaves_by, frame = bench.send(42000, 443)
    assert (leaves_by, frame[IP].src) == (SECOND, OWN[SECOND])
    bench.seconds_pass(1, OUTSIDE, SECOND)
    assert bench.send(42001, 443)[0] == OUTSIDE
    assert bench.uplinks() == [True, True]


def test_a_connection_that_left_by_a_dead_uplink_begins_anew_by_the_other() -> None:
    bench = Bench()
    assert bench.send(42000, 443)[0] == OUTSIDE
    assert bench.open_connections() == 3
    bench.seconds_pass(4, SECOND)
    assert bench.send(42000, 443)[0] == SECOND


def test_going_down_and_coming_up_is_said_once_each_in_the_log() -> None:
    bench = Bench()
    lines = [bench.feed(INSIDE, said(USER, "192.168.77.2", INNER, "192.168.77.1")).log]
    bench.now_s += 4.0
    list(bench.program.on_timer(bench.now_s))
    lines.append(bench.box_answers(SECOND).log)
    lines.append(bench.box_answers(SECOND).log)
    lines.append(bench.box_answers(OUTSIDE).log)
    assert lines == [
        "",
        "uplink outside is down: its next hop does not answer; uplink outside-2 is down: its next hop does not answer; "
        "uplink outside-2 is up again",
        "",
        "uplink outside is up again",
    ]


def test_new_rules_keep_connections_their_uplinks_and_what_is_up() -> None:
    bench = Bench()
    bench.send(42000, 873)
    bench.seconds_pass(4, SECOND)
    bench.program = multihomed(bench.program.reconfigured({"ruleset": RULES.to_config()}))
    assert bench.uplinks() == [False, True]
    assert bench.reply(SECOND, 42000, 873).outcome is Outcome.PASSED
    assert bench.send(42001, 443)[0] == SECOND


def test_fragments_that_come_by_different_uplinks_are_no_datagram() -> None:
    bench = Bench()
    packet = IP(src="192.168.77.2", dst=SERVER) / UDP(sport=42000, dport=9) / Raw(b"x")
    bench.feed(INSIDE, Ether(src=USER, dst=INNER) / packet)
    whole = bytes(IP(src=SERVER, dst=OWN[OUTSIDE], id=5) / UDP(sport=9, dport=42000, chksum=0) / Raw(bytes(1000)))
    first = IP(src=SERVER, dst=OWN[OUTSIDE], id=5, flags="MF", proto=17) / Raw(whole[20:420])
    later = IP(src=SERVER, dst=OWN[OUTSIDE], id=5, frag=50, proto=17) / Raw(whole[420:])
    assert bench.feed(OUTSIDE, Ether(src=BOX[OUTSIDE], dst=OUTER[OUTSIDE]) / first).outcome is Outcome.PASSED
    assert bench.feed(SECOND, Ether(src=BOX[SECOND], dst=OUTER[SECOND]) / later).outcome is Outcome.DROPPED
    assert bench.feed(OUTSIDE, Ether(src=BOX[OUTSIDE], dst=OUTER[OUTSIDE]) / later).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("uplink", "message"),
    [
        ({"marks": [0]}, "router.uplinks[0].marks must be"),
        ({"mac": "01:00:00:00:00:00"}, "router.uplinks[0].mac must be the MAC address of one card"),
        ({"speed": 1}, "router.uplinks[0]"),
    ],
)
def test_an_uplink_that_makes_no_sense_is_refused(uplink: dict[str, Any], message: str) -> None:
    broken = ROUTER | {"uplinks": [ROUTER["uplinks"][0] | uplink]}
    with pytest.raises(ValueError, match="router") as refused:
        create({"ruleset": RULES.to_config(), "router": broken})
    assert str(refused.value).startswith(message)
