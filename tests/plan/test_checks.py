"""Findings that no seeded document shows: the other branches of each check, and what must not be complained of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from vafw.plan.compile import check

if TYPE_CHECKING:
    from tests.plan.conftest import Desk, Edits
    from vafw.document.load import DocumentSet

FIREWALL = "  firewall: {use: firewall, memory: 256 MiB, assign: [nic]}\n"
DNS = "{use: dns-filter, memory: 128 MiB, addresses: [10.0.0.1/32]}"
TUNE = [
    (FIREWALL, FIREWALL + "  tune: {use: tunable, config: {SETTING}}\n"),
    ("firewall, dns,", "firewall, tune, dns,"),
]


def findings(documents: DocumentSet) -> list[str]:
    return [
        f"{each.span.source.path.name}:{each.span.line}:{each.span.column} {each.message}" for each in check(documents)
    ]


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.2/8", "a loopback address"),
        ("240.0.0.1/8", "a reserved address"),
        ("0.1.2.3/8", "a reserved address"),
        ("10.0.0.255/24", "the broadcast address of 10.0.0.0/24"),
        ("10.0.0.0/24", "the address of the network 10.0.0.0/24"),
        ("::1/64", "a loopback address"),
    ],
)
def test_an_address_that_no_station_can_have_is_refused(desk: Desk, address: str, what: str) -> None:
    (found,) = check(desk(topology=[("[10.0.0.2/24]", f"[10.0.0.3/24, '{address}']")]))
    bare = address.partition("/")[0]
    assert found.message == f"a VM must have an address that one station can have, not {bare}"
    assert found.label == f"this is {what}"


@pytest.mark.parametrize("address", ["10.0.0.2/31", "10.0.0.3/31", "10.0.0.2/32", "2001:db8::/127", "2001:db8::/64"])
def test_an_address_that_a_station_can_have_is_accepted(desk: Desk, address: str) -> None:
    documents = desk(topology=[("[10.0.0.2/24]", f"[10.0.0.4/24, '{address}']")])
    assert findings(documents) == []


def test_a_gateway_that_is_the_user_os_itself_is_refused(desk: Desk) -> None:
    documents = desk(topology=[("gateway: [10.0.0.1]", "gateway: [10.0.0.2]")])
    assert findings(documents) == [
        "topology.yaml:13:13 a gateway must be another station, and 10.0.0.2 is the user OS itself"
    ]


def test_a_link_local_gateway_is_accepted(desk: Desk) -> None:
    assert findings(desk(topology=[("gateway: [10.0.0.1]", "gateway: ['fe80::1']")])) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("label: 7", "the setting 'label' must be text, not the number 7"),
        ("depth: true", "the setting 'depth' must be a whole number, not true"),
        ("depth: 1.5", "the setting 'depth' must be a whole number, not the number 1.5"),
        ("strict: yes", "the setting 'strict' must be true or false, not 'yes'"),
        ("peers: [10.0.0.300]", "the setting 'peers' must be a list of IP addresses, not a list"),
        ("allow: [a..example]", "the setting 'allow' must be a list of host names, not a list"),
        ("block: [7]", "the setting 'block' must be a list of files, not a list"),
        ("block: null", "the setting 'block' must be a list of files, not nothing"),
    ],
)
def test_a_setting_of_another_type_is_refused(desk: Desk, setting: str, message: str) -> None:
    documents = desk(topology=[(old, new.replace("SETTING", setting)) for old, new in TUNE])
    assert [line.split(" ", 1)[1] for line in findings(documents)] == [message]


@pytest.mark.parametrize(
    "setting",
    ["label: x", "depth: 0", "strict: false", "peers: ['::1']", "peers: 10.0.0.9", "allow: [a.example]", "block: []"],
)
def test_a_setting_of_its_type_is_accepted(desk: Desk, setting: str) -> None:
    assert findings(desk(topology=[(old, new.replace("SETTING", setting)) for old, new in TUNE])) == []


def test_a_list_file_that_leads_out_of_the_folder_is_refused(desk: Desk) -> None:
    documents = desk(topology=[("[10.0.0.1/32]", "[10.0.0.1/32], config: {block: ../conftest.py}")])
    (found,) = check(documents)
    assert (found.code, found.span.text) == ("VAFW-F002", "../conftest.py")


@pytest.mark.parametrize("name", ["any", "internet", "rfc1918"])
def test_an_appliance_with_a_name_that_policies_reserve_is_refused(desk: Desk, name: str) -> None:
    documents = desk(topology=[(f"  dns: {DNS}", f"  {name}: {DNS}"), ("firewall, dns,", f"firewall, {name},")])
    assert f"topology.yaml:16:3 an appliance must have a name of its own, not '{name}'" in findings(documents)


def test_a_zone_called_as_an_appliance_is_refused(desk: Desk) -> None:
    documents = desk(policy=[("  default: drop\n", "  default: drop\n  zones: {dns: [10.0.0.0/8]}\n")])
    assert findings(documents) == [
        "policy.yaml:6:11 a zone must have a name of its own, not that of the appliance 'dns'"
    ]


def test_a_device_in_the_middle_of_the_path_is_refused(desk: Desk) -> None:
    assert findings(desk(topology=[("firewall, dns,", "firewall, display, dns,")])) == [
        "topology.yaml:17:23 a hop of the path must be an appliance of the topology, not 'display'"
    ]


def test_a_path_without_an_appliance_is_refused(desk: Desk) -> None:
    bare: Edits = [
        (FIREWALL, ""),
        (f"  dns: {DNS}\n", ""),
        ("appliances:\n", ""),
        ("firewall, dns, ", ""),
        ("[display]", "[display, nic]"),
    ]
    documents = desk(
        topology=bare, policy=[("    - {name: resolve, from: user-os, to: dns, service: dns, action: accept}\n", "")]
    )
    assert [each.code for each in check(documents)] == ["VAFW-P006", "VAFW-P010"]


def test_a_bridge_may_share_the_group_of_what_lies_behind_it(desk: Desk) -> None:
    port = '  root-port: {address: "00:1c.0", class: bridge, vendor: 0x8086, device: 0xa338, group: 12}\n'
    assert findings(desk(machine=[("devices:\n", f"devices:\n{port}")])) == []


def test_a_group_that_one_vm_has_whole_is_accepted(desk: Desk) -> None:
    documents = desk(topology=[("[display]", "[display, sound]")], machine=[("group: 14", "group: 1")])
    assert findings(documents) == []


def test_a_device_that_nobody_has_may_lack_a_reset(desk: Desk) -> None:
    assert findings(desk(machine=[("0xa348, group: 14", "0xa348, group: 14, reset: false")])) == []


def test_where_nothing_is_assigned_the_policy_alone_asks_for_remapping(desk: Desk) -> None:
    documents = desk(
        topology=[(", assign: [nic]", ""), ("  assign: [display]\n", "")],
        machine=[("interrupt-remapping: true", "interrupt-remapping: false")],
    )
    assert "machine.yaml:6:51 the machine must have interrupt-remapping" in findings(documents)
    silent = replace(documents, policy=desk(policy=[("  - require: interrupt-remapping\n", "")]).policy)
    assert not [line for line in findings(silent) if "remapping" in line]


def test_every_way_round_is_shown_once(desk: Desk) -> None:
    documents = desk(
        topology=[
            (FIREWALL, "  firewall: {use: tapped-filter, assign: [nic]}\n  ids: {use: ids, mode: mirror}\n"),
            (DNS, DNS.replace("dns-filter", "tapped-filter")[:-1] + ", assign: [nic-2]}"),
            ("dns, user-os]\n", "dns, user-os]\nlinks:\n  - {name: feed, between: [ids.capture, firewall.mirror]}\n"),
        ]
    )
    (found,) = check(documents)
    assert found.code == "VAFW-T031"
    assert found.notes == ("counter-example: user-os -> dns -> nic-2",)


def test_an_unknown_name_keeps_proofs_from_misleading(desk: Desk) -> None:
    documents = desk(policy=[("service: [http, https]", "service: [htps]")])
    assert [each.code for each in check(documents)] == ["VAFW-P002"]


def test_a_rule_that_no_packet_can_match_is_a_warning(desk: Desk) -> None:
    impossible = "    - {name: loop, from: user-os, to: user-os, action: drop}\n  prove:"
    (found,) = check(desk(policy=[("  prove:", impossible)]))
    assert (found.code, found.severity.value, found.label) == ("VAFW-P026", "warning", "no packet is like this")


def test_a_source_that_is_not_the_users_own_refutes_always_with_the_addresses(desk: Desk) -> None:
    clause = "    - always: {from: rfc1918, to: internet, service: https}\ndevices:"
    (found,) = check(desk(policy=[("devices:", clause)]))
    assert found.message == "every packet of this clause must pass, and '(spoofed)' stops one"
    assert [(label.span.source.path.name, label.span.line) for label in found.related] == [("topology.yaml", 12)]


@pytest.mark.parametrize("state", ["established", "related"])
def test_packets_of_connections_pass_whatever_the_rules_say(desk: Desk, state: str) -> None:
    clause = f"    - never: {{from: internet, to: user-os, state: {state}}}\ndevices:"
    (found,) = check(desk(policy=[("devices:", clause)]))
    assert found.message == f"no packet of this clause must pass, and '({state})' lets one through"
    assert found.related == ()
