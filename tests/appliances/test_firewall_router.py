"""The firewall in routed mode: neighbours, hop limits, and translation both ways; over the program that is measured."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, Verdict
from vafw.traffic.nat import Nat, PortForward
from vafw.traffic.packet import TCP as TCP_NUMBER
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw_appliances.firewall.guest import create

OUTER_MAC, INNER_MAC = "52:54:00:00:00:01", "02:00:00:00:00:02"
USER_MAC, GATEWAY_MAC = "02:00:00:00:00:77", "52:54:00:00:00:fe"
EVERYTHING = AddressSet.everything()
USER = (Selector(INSIDE, EVERYTHING),)
ANY = (Selector(None, EVERYTHING),)
HOST = (Selector(INSIDE, AddressSet.from_texts(["192.168.77.2"])),)
WEB = PortForward("web", TCP_NUMBER, (8080, 8080), 4, int(ip_address("192.168.77.2")), 80)
RULES = Ruleset(
    (
        Rule("out", USER, ANY, (), Action.ACCEPT),
        Rule("web", ANY, HOST, (), Action.ACCEPT),
    ),
    Action.DROP,
    nat=Nat(AddressSet.from_texts(["192.168.77.0/24", "fd77::/64"]), (WEB,)),
)
ROUTER: dict[str, Any] = {
    "outside": {"mac": OUTER_MAC, "addresses": ["198.51.100.2/24", "2001:db8:a::2/64"],
                "gateway": ["198.51.100.1", "2001:db8:a::1"]},
    "inside": {"mac": INNER_MAC, "addresses": ["192.168.77.1/24", "fd77::1/64"]},
}  # fmt: skip


class Bench:
    """A router between a user and a gateway, both of whom it knows."""

    def __init__(self) -> None:
        self.program = create({"ruleset": RULES.to_config(), "router": ROUTER})
        self.now_s = 0.0

    def feed(self, side: str, frame: Any) -> Verdict:
        return self.program.handle(side, bytes(frame), self.now_s)

    def introduce(self) -> Bench:
        """Let it ask for both neighbours, and answer."""
        self.feed(INSIDE, from_user(IP(src="192.168.77.2", dst="203.0.113.5") / UDP(sport=1, dport=2)))
        self.feed(OUTSIDE, said(GATEWAY_MAC, "198.51.100.1", OUTER_MAC, "198.51.100.2"))
        self.feed(OUTSIDE, from_gateway(IP(src="203.0.113.5", dst="198.51.100.2") / UDP(sport=2, dport=1)))
        self.feed(INSIDE, said(USER_MAC, "192.168.77.2", INNER_MAC, "192.168.77.1"))
        return self


def from_user(packet: Any) -> Any:
    return Ether(src=USER_MAC, dst=INNER_MAC) / packet


def from_gateway(packet: Any) -> Any:
    return Ether(src=GATEWAY_MAC, dst=OUTER_MAC) / packet


def said(mac: str, address: str, to_mac: str, to: str) -> Any:
    return Ether(src=mac, dst=to_mac) / ARP(op="is-at", hwsrc=mac, psrc=address, hwdst=to_mac, pdst=to)


def only(verdict: Verdict) -> tuple[str, Any]:
    ((port, frame),) = verdict.emit
    return port, Ether(frame)


def test_it_answers_for_its_own_address_and_for_no_other() -> None:
    ask = Ether(src=USER_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=USER_MAC, psrc="192.168.77.2", pdst="192.168.77.1")
    port, answer = only(Bench().feed(INSIDE, ask))
    assert (port, answer[ARP].hwsrc, answer[ARP].psrc) == (INSIDE, INNER_MAC, "192.168.77.1")
    ask[ARP].pdst = "192.168.77.9"
    assert Bench().feed(INSIDE, ask).outcome is Outcome.DROPPED


def test_it_answers_a_neighbour_solicitation_for_its_own_address() -> None:
    ask = Ether(src=USER_MAC, dst="33:33:ff:00:00:01") / IPv6(src="fd77::2", dst="ff02::1:ff00:1", hlim=255)
    port, answer = only(Bench().feed(INSIDE, ask / ICMPv6ND_NS(tgt="fd77::1")))
    assert (port, answer[ICMPv6ND_NA].tgt, answer[ICMPv6NDOptDstLLAddr].lladdr) == (INSIDE, "fd77::1", INNER_MAC)


def test_a_packet_waits_until_its_next_hop_has_answered() -> None:
    bench = Bench()
    there = IP(src="192.168.77.2", dst="203.0.113.5") / UDP(sport=5, dport=53)
    port, asked = only(bench.feed(INSIDE, from_user(there)))
    assert (port, asked[ARP].pdst, asked[ARP].psrc) == (OUTSIDE, "198.51.100.1", "198.51.100.2")
    port, sent = only(bench.feed(OUTSIDE, said(GATEWAY_MAC, "198.51.100.1", OUTER_MAC, "198.51.100.2")))
    assert (port, sent.dst, sent.src) == (OUTSIDE, GATEWAY_MAC, OUTER_MAC)
    assert (sent[IP].src, sent[IP].ttl, sent[UDP].sport) == ("198.51.100.2", 63, 5)


def test_answers_find_back_to_who_asked() -> None:
    bench = Bench().introduce()
    there = IP(src="192.168.77.2", dst="203.0.113.5") / TCP(sport=4000, dport=443, flags="S", seq=1)
    _, sent = only(bench.feed(INSIDE, from_user(there)))
    assert (sent[IP].src, sent[TCP].sport) == ("198.51.100.2", 4000)
    back = IP(src="203.0.113.5", dst="198.51.100.2") / TCP(sport=443, dport=4000, flags="SA", seq=9, ack=2)
    port, came = only(bench.feed(OUTSIDE, from_gateway(back)))
    assert (port, came[IP].dst, came.dst, came.src) == (INSIDE, "192.168.77.2", USER_MAC, INNER_MAC)


def test_a_forwarded_port_leads_to_the_host_inside() -> None:
    bench = Bench().introduce()
    there = IP(src="203.0.113.9", dst="198.51.100.2") / TCP(sport=4000, dport=8080, flags="S", seq=1)
    verdict = bench.feed(OUTSIDE, from_gateway(there))
    _, came = only(verdict)
    assert (verdict.rule, came[IP].dst, came[TCP].dport) == ("web", "192.168.77.2", 80)
    back = IP(src="192.168.77.2", dst="203.0.113.9") / TCP(sport=80, dport=4000, flags="SA", seq=5, ack=2)
    _, sent = only(bench.feed(INSIDE, from_user(back)))
    assert (sent[IP].src, sent[TCP].sport) == ("198.51.100.2", 8080)


def test_other_ports_of_its_own_are_closed_without_a_word() -> None:
    there = IP(src="203.0.113.9", dst="198.51.100.2") / TCP(sport=4000, dport=22, flags="S", seq=1)
    verdict = Bench().introduce().feed(OUTSIDE, from_gateway(there))
    assert (verdict.outcome, verdict.rule, verdict.emit) == (Outcome.DROPPED, "(own address)", ())


def test_it_answers_an_echo_from_inside_alone() -> None:
    bench = Bench()
    port, answer = only(bench.feed(INSIDE, from_user(IP(src="192.168.77.2", dst="192.168.77.1") / ICMP())))
    assert (port, answer[ICMP].type) == (INSIDE, 0)
    assert not bench.feed(OUTSIDE, from_gateway(IP(src="203.0.113.9", dst="198.51.100.2") / ICMP())).emit


def test_the_last_hop_of_a_packet_is_told_to_its_sender() -> None:
    packet = IP(src="192.168.77.2", dst="203.0.113.5", ttl=1) / UDP(sport=5, dport=33434)
    verdict = Bench().feed(INSIDE, from_user(packet))
    port, told = only(verdict)
    assert (verdict.rule, port, told[ICMP].type, told[IP].src) == ("(hop limit)", INSIDE, 11, "192.168.77.1")


def test_an_error_about_a_masqueraded_packet_reaches_who_sent_it() -> None:
    bench = Bench().introduce()
    _, sent = only(bench.feed(INSIDE, from_user(IP(src="192.168.77.2", dst="203.0.113.5") / UDP(sport=5, dport=53))))
    error = IP(src="203.0.113.1", dst="198.51.100.2") / ICMP(type=3, code=1) / sent[IP]
    verdict = bench.feed(OUTSIDE, from_gateway(error))
    _, came = only(verdict)
    quoted = came[ICMP].payload
    assert (verdict.rule, came[IP].dst, quoted.src, quoted.sport) == ("(related)", "192.168.77.2", "192.168.77.2", 5)
    assert Ether(bytes(came)).haslayer(ICMP)


def test_frames_for_another_station_and_to_groups_are_left_alone() -> None:
    bench = Bench()
    other = Ether(src=USER_MAC, dst="02:00:00:00:00:99") / IP(src="192.168.77.2", dst="203.0.113.5") / UDP()
    assert bench.feed(INSIDE, other).rule == "(not mine)"
    group = Ether(src=USER_MAC, dst="01:00:5e:00:00:fb") / IP(src="192.168.77.2", dst="224.0.0.251") / UDP()
    assert bench.feed(INSIDE, group).rule == "(not mine)"


FORGED = ("203.0.113.9", "198.51.100.2", "192.168.77.255")
"""Of the other side, of its own, of all hosts."""


def test_a_source_of_the_other_side_or_of_its_own_is_forged() -> None:
    bench = Bench().introduce()
    from_inside = [IP(src=source, dst="203.0.113.5") / UDP() for source in FORGED]
    from_outside = IP(src="192.168.77.9", dst="192.168.77.2") / UDP()
    verdicts = [bench.feed(INSIDE, from_user(each)) for each in from_inside]
    verdicts.append(bench.feed(OUTSIDE, from_gateway(from_outside)))
    assert [(each.outcome, each.rule, each.emit) for each in verdicts] == [(Outcome.DROPPED, "(spoofed)", ())] * 4


def test_a_packet_to_all_hosts_of_the_inside_is_no_packet_of_its_own() -> None:
    there = IP(src="203.0.113.9", dst="192.168.77.255") / UDP(sport=5, dport=53)
    assert Bench().introduce().feed(OUTSIDE, from_gateway(there)).rule == "(not mine)"
