from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.plan.rules import RFC1918, compile_rules, port_range, services, zones
from vafw.plan.special_purpose import PUBLIC
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.rule import TCP, Action, AddressSet, Packet, Ruleset, Selector, ServiceMatch

if TYPE_CHECKING:
    from tests.plan.conftest import Desk


def hosts(*texts: str) -> AddressSet:
    return AddressSet.of(ip_network(text) for text in texts)


def test_the_zones_of_every_policy_mean_what_they_say(desk: Desk) -> None:
    known = zones(desk())
    assert known["any"] == (Selector(None, AddressSet.everything()),)
    assert known["user-os"] == (Selector(INSIDE, hosts("10.0.0.2")),)
    assert known["internet"] == (Selector(OUTSIDE, PUBLIC),)
    assert known["rfc1918"] == (Selector(None, RFC1918),)


def test_a_user_os_without_addresses_is_everything_inside(desk: Desk) -> None:
    bare = desk(topology=[("  addresses: [10.0.0.2/24]\n  gateway: [10.0.0.1]\n", "")])
    assert zones(bare)["user-os"] == (Selector(INSIDE, AddressSet.everything()),)
    assert compile_rules(bare).inside is None


def test_an_appliance_is_the_addresses_it_speaks_for_and_nothing_around_them(desk: Desk) -> None:
    known = zones(desk(topology=[("10.0.0.1/32", "10.0.0.1/24")]))
    assert known["dns"] == (Selector(None, hosts("10.0.0.1")),)
    assert "firewall" not in known


def test_a_zone_of_the_policys_own_is_its_networks_on_either_side(desk: Desk) -> None:
    own = desk(policy=[("  default: drop\n", "  default: drop\n  zones: {office: [10.1.0.0/16, 'fd00::/8']}\n")])
    assert zones(own)["office"] == (Selector(None, hosts("10.1.0.0/16", "fd00::/8")),)


def test_a_service_of_the_policys_own_takes_the_place_of_a_shipped_one(desk: Desk) -> None:
    service = "  services: {http: {protocol: tcp, ports: [80, 8000-8080]}}\n"
    own = desk(policy=[("  default: drop\n", f"  default: drop\n{service}")])
    assert services(own)["http"] == (ServiceMatch(TCP, ((80, 80), (8000, 8080))),)


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_a_range_of_ports_is_both_of_its_ends(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert port_range(f"{low}-{high}") == (low, high)
    assert port_range(low) == port_range(str(low)) == (low, low)


def test_rules_keep_their_order_their_names_and_their_actions(desk: Desk) -> None:
    compiled = compile_rules(desk())
    assert [(rule.name, rule.action) for rule in compiled.rules] == [
        ("resolve", Action.ACCEPT),
        ("no-lan", Action.REJECT),
        ("web", Action.ACCEPT),
    ]
    assert compiled.default is Action.DROP
    assert compiled.inside == hosts("10.0.0.2")


@pytest.mark.parametrize(
    ("destination", "port", "rule"),
    [
        ("10.0.0.1", 53, "resolve"),
        ("10.0.0.1", 443, "no-lan"),
        ("192.168.7.7", 443, "no-lan"),
        ("1.1.1.1", 443, "web"),
        ("1.1.1.1", 80, "web"),
    ],
)
def test_the_first_rule_that_matches_decides(desk: Desk, destination: str, port: int, rule: str) -> None:
    packet = Packet(INSIDE, 4, int(ip_address("10.0.0.2")), int(ip_address(destination)), TCP, port)
    found = compile_rules(desk()).first_match(packet)
    assert found is not None
    assert found.name == rule


def test_what_no_rule_matches_is_left_to_the_default(desk: Desk) -> None:
    packet = Packet(INSIDE, 4, int(ip_address("10.0.0.2")), int(ip_address("1.1.1.1")), TCP, 22)
    assert compile_rules(desk()).first_match(packet) is None


def test_the_rules_reach_the_firewall_unchanged(desk: Desk) -> None:
    compiled = compile_rules(desk())
    assert Ruleset.from_config(compiled.to_config()) == compiled
