from __future__ import annotations

from ipaddress import ip_network

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from vafw.trace import Value
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES
from vafw_appliances.firewall.guest import create

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
ANY = (Selector(None, AddressSet.everything()),)
USER = (Selector(INSIDE, AddressSet.everything()),)
LAN = (Selector(None, AddressSet.of([ip_network("10.0.0.0/8")])),)
RULES = Ruleset(
    (
        Rule("no-lan", USER, LAN, (), Action.REJECT, log=True),
        Rule("web", USER, ANY, SERVICES["https"], Action.ACCEPT),
    ),
    Action.DROP,
)


@pytest.fixture
def firewall() -> PacketAppliance:
    return create({"ruleset": RULES.to_config()})


def syn(destination: str, port: int) -> bytes:
    return bytes(ETHER / IP(src="10.0.0.2", dst=destination) / TCP(sport=5000, dport=port, flags="S", seq=9))


def test_an_accepted_frame_passes_unchanged(firewall: PacketAppliance) -> None:
    frame = syn("1.1.1.1", 443)
    verdict = firewall.handle(INSIDE, frame, 0.0)
    assert (verdict.outcome, verdict.rule, verdict.emit) == (Outcome.PASSED, "web", ((OUTSIDE, frame),))


def test_the_answer_of_an_accepted_connection_passes(firewall: PacketAppliance) -> None:
    firewall.handle(INSIDE, syn("1.1.1.1", 443), 0.0)
    answer = ETHER / IP(src="1.1.1.1", dst="10.0.0.2") / TCP(sport=443, dport=5000, flags="SA", ack=10)
    assert firewall.handle(OUTSIDE, bytes(answer), 0.1).rule == "(established)"


def test_an_answer_that_comes_from_the_wrong_side_is_dropped(firewall: PacketAppliance) -> None:
    firewall.handle(INSIDE, syn("1.1.1.1", 443), 0.0)
    answer = ETHER / IP(src="1.1.1.1", dst="10.0.0.2") / TCP(sport=443, dport=5000, flags="SA", ack=10)
    assert firewall.handle(INSIDE, bytes(answer), 0.1).rule == "(spoofed)"


def test_a_rejected_segment_gets_a_reset_back_and_a_line_in_the_log(firewall: PacketAppliance) -> None:
    verdict = firewall.handle(INSIDE, syn("10.9.9.9", 22), 0.0)
    ((port, answer),) = verdict.emit
    assert (verdict.outcome, port, Ether(answer)[TCP].flags, Ether(answer)[TCP].ack) == (
        Outcome.REJECTED,
        INSIDE,
        "RA",
        10,
    )
    assert verdict.log == "reject no-lan: tcp from 10.0.0.2 5000 (inside) to 10.9.9.9 22"


def test_what_no_rule_matches_is_dropped_without_a_word(firewall: PacketAppliance) -> None:
    frame = bytes(ETHER / IP(src="1.1.1.1", dst="10.0.0.2") / UDP(dport=53))
    verdict = firewall.handle(OUTSIDE, frame, 0.0)
    assert (verdict.outcome, verdict.rule, verdict.emit, verdict.log) == (Outcome.DROPPED, "(default)", (), "")


def test_arp_passes_and_other_ethertypes_do_not(firewall: PacketAppliance) -> None:
    assert firewall.handle(INSIDE, bytes(ETHER / ARP()), 0.0).rule == "(neighbour)"
    assert firewall.handle(INSIDE, bytes(12) + b"\x88\xcc" + bytes(40), 0.0).rule == "(ethertype)"


def test_rules_apply_behind_a_vlan_tag_and_each_vlan_is_its_own(firewall: PacketAppliance) -> None:
    inner = IP(src="10.0.0.2", dst="1.1.1.1") / TCP(sport=5000, dport=443, flags="S")
    assert firewall.handle(INSIDE, bytes(ETHER / Dot1Q(vlan=5) / inner), 0.0).rule == "web"
    answer = IP(src="1.1.1.1", dst="10.0.0.2") / TCP(sport=443, dport=5000, flags="SA", ack=1)
    assert firewall.handle(OUTSIDE, bytes(ETHER / Dot1Q(vlan=6) / answer), 0.0).rule == "(invalid)"


def test_the_report_counts_by_rule_and_shows_flows(firewall: PacketAppliance) -> None:
    firewall.handle(INSIDE, syn("1.1.1.1", 443), 1.0)
    firewall.handle(INSIDE, bytes(20), 2.0)
    report = firewall.report()
    assert report["connections"] == {"open": 1, "evicted": 0, "refused": 0}
    expected: dict[str, Value] = {
        "from": "inside", "source": "10.0.0.2", "destination": "1.1.1.1", "protocol": "tcp", "rule": "web",
        "outcome": "accept", "packets": 1, "bytes": 54, "first-s": 1.0, "last-s": 1.0,
        "source-port": 5000, "destination-port": 443,
    }  # fmt: skip
    assert report["flows"] == [expected]


def test_the_probe_says_what_it_tried(firewall: PacketAppliance) -> None:
    assert firewall.probe() == (True, "2 rules decide, and a frame of an unknown EtherType is dropped by (ethertype)")


def test_a_config_without_a_ruleset_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^the firewall's config must have a ruleset, which `vafw` compiles from the policy$"
    ):
        create({})
