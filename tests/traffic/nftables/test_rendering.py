from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.condition import Limit
from vafw.traffic.nat import Nat, OwnAddresses, PortForward
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.nftables.statement import Family
from vafw.traffic.packet import TCP
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES

GOLDEN = Path(__file__).with_name("office.nft")
FAMILIES: tuple[Family, Family] = ("inet", "bridge")
USER = (Selector(INSIDE, AddressSet.everything()),)
ANY = (Selector(None, AddressSet.everything()),)
RESOLVER = (Selector(None, AddressSet.from_texts(["10.0.0.1", "2001:db8:a::1"])),)
LAN = (Selector(None, AddressSet.from_texts(["10.0.0.0/8", "192.168.0.0/16", "fc00::/7"])),)


def test_a_ruleset_gives_the_text_of_the_golden_file() -> None:
    rules = Ruleset(
        (
            Rule("resolve", USER, RESOLVER, SERVICES["dns"], Action.ACCEPT),
            Rule("no-lan", USER, LAN, (), Action.REJECT, log=True),
            Rule("web", USER, ANY, SERVICES["http"] + SERVICES["https"] + SERVICES["quic"], Action.ACCEPT),
            Rule("ping", ANY, ANY, SERVICES["ping"], Action.ACCEPT),
        ),
        Action.DROP,
        AddressSet.from_texts(["10.0.0.2", "2001:db8:a::2"]),
    )
    assert nftables_text(rules, inside="in0", outside="out0") == GOLDEN.read_text()


def test_each_uplink_hides_sources_behind_its_own_address_and_leads_its_own_ports() -> None:
    hidden, web = (
        AddressSet.from_texts(["10.0.0.0/24", "fd00::/64"]),
        PortForward("web", TCP, (80, 80), 4, 0x0A000002, 80),
    )
    inward = Rule("in", (Selector(OUTSIDE, AddressSet.everything()),), ANY, (), Action.ACCEPT)
    ruleset = Ruleset((inward,), Action.DROP, nat=Nat(hidden, (web,)), offload=True)
    own = OwnAddresses({4: 0xC0000201, 6: 1 << 120}, frozenset(), ({4: 0xC6336401},))
    text = nftables_text(ruleset, inside="in0", outside="out0", own=own, further={"out1": (7,)})
    assert [line.strip() for line in text.splitlines() if "nat" in line and "hook" not in line] == [
        'iifname "out0" ip daddr 192.0.2.1 tcp dport 80 counter dnat ip to 10.0.0.2 comment "web"',
        'iifname "out1" ip daddr 198.51.100.1 tcp dport 80 counter dnat ip to 10.0.0.2 comment "web"',
        'iifname "in0" oifname "out0" ip saddr 10.0.0.0-10.0.0.255 counter snat ip to 192.0.2.1',
        'iifname "in0" oifname "out0" ip6 saddr fd00::-fd00::ffff:ffff:ffff:ffff counter snat ip6 to 100::',
        'iifname "in0" oifname "out1" ip saddr 10.0.0.0-10.0.0.255 counter snat ip to 198.51.100.1',
    ]
    assert "flowtable" not in text, "which asks for the way back without the mark"
    assert text.count('iifname { "out0", "out1" }') >= 2, "the rule about what comes from outside"


def test_a_limit_before_a_mark_that_chooses_an_uplink_is_refused() -> None:
    limited = Rule("slow", ANY, ANY, (), Action.ACCEPT, limit=Limit(1, "second"))
    marks = Rule("bulk", ANY, ANY, (), Action.MARK, mark=7)
    own = OwnAddresses({4: 0xC0000201}, frozenset(), ({4: 0xC6336401},))
    for rules in ((limited, marks), (replace(marks, limit=Limit(1, "second")),)):
        with pytest.raises(ValueError, match=r"^a rule with a limit must stand behind those that mark where a mark ch"):
            nftables_text(Ruleset(rules, Action.DROP), inside="in0", outside="out0", own=own, further={"out1": (7,)})
    assert "chain uplinks" in nftables_text(
        Ruleset((marks, limited), Action.DROP), inside="in0", outside="out0", own=own, further={"out1": (7,)}
    )


def test_a_router_has_a_flow_table_where_one_is_wanted_and_a_bridge_never() -> None:
    rules = Ruleset((Rule("all", USER, ANY, (), Action.ACCEPT),), Action.DROP, offload=True)
    router, bridge = (nftables_text(rules, inside="in0", outside="out0", family=each) for each in FAMILIES)
    assert 'flowtable fast { hook ingress priority filter; devices = { "in0", "out0" }; }' in router
    assert "meta l4proto { tcp, udp } ct state established flow add @fast" in router
    assert "fast" not in bridge
