"""A packet on its way: the same answer as the header space gives, hop by hop and with reasons."""

from __future__ import annotations

from itertools import product

import pytest

from tests.plan.conftest import Desk
from vafw.plan.compile import check
from vafw.plan.hops import path_proof
from vafw.plan.walk import walk
from vafw.traffic.packet_text import parse_packet

ENDS = ["10.0.0.1", "10.0.0.2", "192.168.7.7", "203.0.113.9", "8.8.8.8"]
SENT = [
    *(f"{name} {source}:40000 -> {to}:{port}" for name, source, to, port in product(
        ("tcp", "udp"), ENDS[:4], ENDS, (22, 53, 80, 443))),
    *(f"icmp {source} -> {to}" for source, to in product(ENDS[:4], ENDS)),
]  # fmt: skip


@pytest.mark.parametrize("state", ["new", "established", "related", "invalid"])
def test_a_packet_passes_exactly_if_it_is_among_those_that_pass(desk: Desk, state: str) -> None:
    documents = desk()
    proof = path_proof(documents)
    for text in SENT:
        found = walk(documents, parse_packet(f"{text} {state}"))
        among = proof.space.within(proof.space.packet(found.asked.packet), proof.passing.may)
        assert found.passes == among, text


def test_hops_are_met_from_where_the_packet_comes_in(desk: Desk) -> None:
    outwards = walk(desk(), parse_packet("tcp 10.0.0.2:40000 -> 8.8.8.8:443"))
    inwards = walk(desk(), parse_packet("tcp 8.8.8.8:443 -> 10.0.0.2:40000 established"))
    assert [step.hop for step in outwards.steps] == ["dns", "firewall"]
    assert [step.hop for step in inwards.steps] == ["firewall", "dns"]
    assert inwards.steps[0].rule == "(established)"


def test_every_rule_that_was_asked_says_why_it_did_not_decide(desk: Desk) -> None:
    rules = "    - {name: later, from: user-os, to: any, service: ssh, action: accept, limit: 3/minute}\n  prove:"
    documents = desk(policy=[("  prove:", rules)])
    (_, step) = walk(documents, parse_packet("tcp 10.0.0.2:40000 -> 8.8.8.8:22")).steps
    assert [(each.name, each.said) for each in step.considered] == [
        ("resolve", "no: it is about packets to dns, not 8.8.8.8"),
        ("no-lan", "no: it is about packets to rfc1918, not 8.8.8.8"),
        ("web", "no: it is about http or https"),
        ("later", "perhaps: accept while there are no more than 3/minute burst 5"),
    ]
    assert step.rule == "(default)"


def test_a_forged_source_stops_before_any_rule_is_asked(desk: Desk) -> None:
    found = walk(desk(), parse_packet("tcp 192.168.7.7:40000 -> 8.8.8.8:443 inside"))
    assert (found.steps[-1].rule, found.steps[-1].considered, found.passes) == ("(spoofed)", (), False)


ROUTED = [
    (
        "firewall: {use: firewall, memory: 256 MiB, assign: [nic]}",
        "firewall: {use: firewall, memory: 256 MiB, assign: [nic], router: {outside: [198.51.100.2/24], "
        "inside: [10.0.0.254/24], gateway: [198.51.100.1]}}",
    ),
    ("gateway: [10.0.0.1]", "gateway: [10.0.0.254]"),
]
TRANSLATED = [
    (
        "  rules:\n",
        "  nat:\n    masquerade: [user-os]\n    forward: [{name: shell, protocol: tcp, port: 2222, to: 10.0.0.2, "
        "to-port: 22}]\n  rules:\n    - {name: in, from: internet, to: user-os, service: ssh, action: accept}\n",
    )
]


def test_a_source_that_a_router_hides_is_shown_as_it_leaves(desk: Desk) -> None:
    found = walk(desk(topology=ROUTED, policy=TRANSLATED), parse_packet("tcp 10.0.0.2:40000 -> 8.8.8.8:443"))
    assert found.passes
    assert str(found.steps[-1].leaves_as) == "tcp/443 from 198.51.100.2 (inside) to 8.8.8.8"


def test_a_forwarded_port_leads_to_the_host_that_rules_see(desk: Desk) -> None:
    found = walk(desk(topology=ROUTED, policy=TRANSLATED), parse_packet("tcp 8.8.8.8:40000 -> 198.51.100.2:2222"))
    assert (found.passes, found.steps[0].rule) == (True, "in")
    assert str(found.steps[0].leaves_as) == "tcp/22 from 8.8.8.8 (outside) to 10.0.0.2"


def test_a_never_is_refuted_through_a_forwarded_port(desk: Desk) -> None:
    (found,) = [each for each in check(desk(topology=ROUTED, policy=TRANSLATED)) if each.code == "VAFW-P020"]
    assert found.notes == (
        "counter-example: tcp/22 from 1.0.0.1 (outside) to 10.0.0.2",
        "on the wire: tcp/2222 from 1.0.0.1 (outside) to 198.51.100.2",
        "decided at: firewall",
    )
