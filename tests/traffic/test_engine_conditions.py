"""The engine and what a rule may depend on: states, limits, schedules, VLANs, names; rules that only leave a trace."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.condition import Limit, Schedule
from vafw.traffic.engine import Engine
from vafw.traffic.rule import Action, Rule, Ruleset, Selector, State

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
EVERYTHING = AddressSet.everything()
ANY = (Selector(None, EVERYTHING),)
USER = (Selector(INSIDE, EVERYTHING),)
SHOP = (Selector(OUTSIDE, AddressSet.from_texts(["192.0.2.0/24"]), ("*.example.com",)),)
THERE = IP(src="10.0.0.2", dst="1.1.1.1")
BACK = IP(src="1.1.1.1", dst="10.0.0.2")
OUT = Rule("out", USER, ANY, (), Action.ACCEPT)
MONDAY_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()


def engine_of(*rules: Rule, wall_offset_s: float | None = None) -> Engine:
    return Engine(Ruleset(rules, Action.DROP), wall_offset_s=wall_offset_s)


def rule_of(engine: Engine, packet: Any, side: str = INSIDE, now_s: float = 0.0) -> str:
    return engine.decide(bytes(packet if packet.haslayer(Ether) else ETHER / packet), side, now_s).rule


def test_what_is_over_the_limit_goes_on_to_the_next_rule() -> None:
    engine = engine_of(replace(OUT, name="few", limit=Limit(1, "second", 2)), replace(OUT, name="rest"))
    found = [rule_of(engine, THERE / UDP(sport=port, dport=53), now_s=0.1 * port) for port in range(1, 5)]
    assert found == ["few", "few", "rest", "rest"]


def test_a_limit_is_not_used_up_by_packets_of_connections() -> None:
    engine = engine_of(replace(OUT, limit=Limit(1, "hour", 1)))
    assert rule_of(engine, THERE / UDP(sport=9, dport=53)) == "out"
    assert rule_of(engine, BACK / UDP(sport=53, dport=9), OUTSIDE) == "(established)"
    assert rule_of(engine, THERE / UDP(sport=9, dport=53)) == "(established)"
    assert rule_of(engine, THERE / UDP(sport=8, dport=53)) == "(default)"


def test_a_schedule_is_asked_by_the_clock_that_is_given() -> None:
    hours = Schedule(("mon",), 8 * 3600, 18 * 3600)
    engine = engine_of(replace(OUT, schedule=hours), wall_offset_s=MONDAY_NOON)
    assert rule_of(engine, THERE / UDP(sport=1, dport=53), now_s=0.0) == "out"
    assert rule_of(engine, THERE / UDP(sport=2, dport=53), now_s=6 * 3600.0) == "(default)"


def test_without_a_clock_a_scheduled_rule_lets_nothing_through() -> None:
    engine = engine_of(replace(OUT, schedule=Schedule(("mon",))))
    assert rule_of(engine, THERE / UDP(sport=1, dport=53), now_s=MONDAY_NOON) == "(default)"


def test_a_name_stands_for_nothing_until_an_answer_has_passed() -> None:
    engine = engine_of(Rule("shop", USER, SHOP, (), Action.ACCEPT))
    there = IP(src="10.0.0.2", dst="192.0.2.7")
    assert rule_of(engine, there / TCP(sport=1, dport=443, flags="S"), now_s=0.0) == "(default)"
    engine.conditions.names.learn("www.example.com", 4, int(ip_address("192.0.2.7")), 300, now_s=1.0)
    assert rule_of(engine, there / TCP(sport=2, dport=443, flags="S"), now_s=2.0) == "shop"
    assert rule_of(engine, there / TCP(sport=3, dport=443, flags="S"), now_s=302.0) == "(default)"


def test_a_name_cannot_be_made_to_stand_for_what_the_selector_does_not_hold() -> None:
    engine = engine_of(Rule("shop", USER, SHOP, (), Action.ACCEPT))
    engine.conditions.names.learn("www.example.com", 4, int(ip_address("192.168.1.1")), 300, now_s=0.0)
    assert rule_of(engine, IP(src="10.0.0.2", dst="192.168.1.1") / UDP(dport=443)) == "(default)"


@pytest.mark.parametrize(
    ("vlans", "frame", "rule"),
    [
        (((10, 19),), ETHER / Dot1Q(vlan=10) / THERE / UDP(dport=53), "out"),
        (((10, 19),), ETHER / Dot1Q(vlan=20) / THERE / UDP(dport=53), "(default)"),
        (((10, 19),), ETHER / THERE / UDP(dport=53), "(default)"),
        (((0, 0),), ETHER / THERE / UDP(dport=53), "out"),
        (((10, 19),), ETHER / Dot1Q(vlan=11) / Dot1Q(vlan=99) / THERE / UDP(dport=53), "out"),
    ],
)
def test_a_rule_about_a_vlan_looks_at_the_outermost_tag(vlans: Any, frame: Any, rule: str) -> None:
    assert rule_of(engine_of(replace(OUT, vlans=vlans)), frame) == rule


def test_a_rule_about_established_packets_ends_a_connection() -> None:
    ssh = Rule("no-more", ANY, ANY, (), Action.DROP, states=(State.ESTABLISHED,), limit=Limit(1, "day", 1))
    engine = engine_of(ssh, OUT)
    assert rule_of(engine, THERE / UDP(sport=9, dport=53)) == "out"
    assert rule_of(engine, BACK / UDP(sport=53, dport=9), OUTSIDE) == "no-more"
    assert rule_of(engine, BACK / UDP(sport=53, dport=9), OUTSIDE) == "(established)"


def test_a_rule_about_related_packets_is_asked_about_errors() -> None:
    engine = engine_of(Rule("no-errors", ANY, ANY, (), Action.DROP, states=(State.RELATED,)), OUT)
    sent = THERE / UDP(sport=5, dport=6)
    assert rule_of(engine, sent) == "out"
    assert rule_of(engine, IP(src="9.9.9.9", dst="10.0.0.2") / ICMP(type=3, code=1) / sent, OUTSIDE) == "no-errors"


def test_what_only_leaves_a_trace_does_not_decide() -> None:
    engine = engine_of(Rule("note", USER, ANY, (), Action.LOG), Rule("bulk", USER, ANY, (), Action.MARK, mark=7), OUT)
    decision = engine.decide(bytes(ETHER / THERE / UDP(sport=5, dport=6)), INSIDE, 0.0)
    assert (decision.action, decision.rule) == (Action.ACCEPT, "out")
    assert (decision.log, decision.logged_by, decision.mark) == (True, "note", 7)
    assert {name: count.packets for name, count in engine.counts.items()} == {
        "note": 1, "bulk": 1, "out": 1, "(established)": 0,
    }  # fmt: skip


def test_the_mark_of_a_connection_stays_with_its_packets() -> None:
    engine = engine_of(Rule("bulk", USER, ANY, (), Action.MARK, mark=7), OUT)
    engine.decide(bytes(ETHER / THERE / UDP(sport=5, dport=6)), INSIDE, 0.0)
    assert engine.decide(bytes(ETHER / BACK / UDP(sport=6, dport=5)), OUTSIDE, 0.0).mark == 7


def test_rules_about_invalid_packets_may_log_but_never_pass_them() -> None:
    engine = engine_of(Rule("odd", ANY, ANY, (), Action.LOG, states=(State.INVALID,)), OUT)
    decision = engine.decide(bytes(ETHER / THERE / TCP(flags="SA")), INSIDE, 0.0)
    assert (decision.action, decision.rule, decision.logged_by) == (Action.DROP, "(invalid)", "odd")


def test_a_rule_that_accepts_invalid_packets_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^'odd' must not accept invalid packets: no answer to them can be right$"):
        Rule("odd", ANY, ANY, (), Action.ACCEPT, states=(State.INVALID,))


def test_a_mark_without_its_action_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^'out' must have a mark exactly if its action is mark$"):
        replace(OUT, mark=7)


def test_offload_past_a_rule_about_established_packets_is_refused() -> None:
    rule = Rule("cut", ANY, ANY, (), Action.DROP, states=(State.ESTABLISHED,))
    with pytest.raises(ValueError, match=r"^offload must be false where a rule speaks of established packets: "):
        Ruleset((rule,), Action.DROP, offload=True)


def test_every_part_of_a_rule_survives_its_configuration() -> None:
    rule = Rule(
        "all", USER, (*SHOP, *ANY), (), Action.MARK, True, (State.NEW, State.ESTABLISHED), Limit(3, "hour", 7),
        Schedule(("mon", "sun"), 3600, 86400), ((0, 0), (10, 12)), 9,
    )  # fmt: skip
    ruleset = Ruleset((rule,), Action.REJECT)
    assert Ruleset.from_config(ruleset.to_config()) == ruleset
