from __future__ import annotations

from pathlib import Path

from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.nftables.statement import Family
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


def test_a_router_has_a_flow_table_where_one_is_wanted_and_a_bridge_never() -> None:
    rules = Ruleset((Rule("all", USER, ANY, (), Action.ACCEPT),), Action.DROP, offload=True)
    router, bridge = (nftables_text(rules, inside="in0", outside="out0", family=each) for each in FAMILIES)
    assert 'flowtable fast { hook ingress priority filter; devices = { "in0", "out0" }; }' in router
    assert "meta l4proto { tcp, udp } ct state established flow add @fast" in router
    assert "fast" not in bridge
