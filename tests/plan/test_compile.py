from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.document.diagnostic import DocumentInvalid
from vafw.document.load import load_topology
from vafw.errors import PlatformUnable
from vafw.machine.capability import Capability
from vafw.plan.compile import check, compile_plan, needed
from vafw.plan.plan import FailureAction, Plan, Port, VmRole, canonical_json

if TYPE_CHECKING:
    from tests.plan.conftest import Desk

GOLDEN = Path(__file__).parent / "golden"
EVERYTHING = ~Capability(0)
DIGEST = "80e36558272c2c4d2b23a521a18489fa99c2e72430938b257f168e1771078bac"
TAP = [
    ("{use: firewall, memory: 256 MiB, assign: [nic]}", "{use: tapped-filter, assign: [nic]}"),
    ("  dns:", "  zeek: {use: ids, mode: mirror}\n  arkime: {use: ids, mode: mirror}\n  dns:"),
    (
        "dns, user-os]\n",
        "dns, user-os]\nlinks:\n  - {name: feed, between: [firewall.mirror, zeek.capture]}\n"
        "  - {name: side, between: [zeek.management, arkime.management]}\n",
    ),
]


@pytest.fixture(scope="module")
def plan(desk: Desk) -> Plan:
    return compile_plan(desk(), EVERYTHING)


def test_documents_that_agree_have_nothing_wrong_with_them(desk: Desk) -> None:
    assert check(desk()) == ()
    assert check(desk(topology=TAP)) == ()


def test_the_shipped_example_has_nothing_wrong_with_it(office: Path) -> None:
    assert check(load_topology(office, measuring=True, environment={})) == ()


def test_the_plan_is_the_same_to_the_byte(plan: Plan) -> None:
    assert canonical_json(plan.to_json()).decode() + "\n" == (GOLDEN / "desk.json").read_text()
    assert plan.digest.hex() == DIGEST


def test_vms_start_from_the_wire_inwards_and_the_user_os_last(desk: Desk) -> None:
    compiled = compile_plan(desk(topology=TAP), EVERYTHING)
    assert [vm.name for vm in compiled.vms] == ["firewall", "dns", "arkime", "zeek", "user-os"]
    assert [vm.role for vm in compiled.vms] == [VmRole.APPLIANCE] * 4 + [VmRole.USER_OS]


def test_links_are_named_after_both_ends_from_the_wire_inwards(desk: Desk) -> None:
    links = compile_plan(desk(topology=TAP), EVERYTHING).links
    assert [link.name for link in links] == ["firewall-dns", "dns-user-os", "feed", "side"]
    assert (links[0].outer, links[0].inner) == (Port("firewall", "inside"), Port("dns", "outside"))
    assert (links[2].outer, links[2].inner) == (Port("firewall", "mirror"), Port("zeek", "capture"))


def test_the_outer_end_of_a_link_is_the_one_nearer_to_the_wire_however_it_is_written(desk: Desk) -> None:
    turned = [*TAP, ("[firewall.mirror, zeek.capture]", "[zeek.capture, firewall.mirror]")]
    one, other = (compile_plan(desk(topology=edits), EVERYTHING).links for edits in (TAP, turned))
    assert one == other


def test_functions_belong_to_the_vms_that_the_topology_gives_them_to(plan: Plan) -> None:
    owners = {each.name: vm.name for vm in plan.vms for each in vm.functions}
    assert owners == {"nic": "firewall", "display": "user-os"}
    assert plan.wire == plan.vm("firewall").functions[0]


def test_the_firewall_is_given_the_rules(plan: Plan) -> None:
    config: Any = plan.vm("firewall").config
    assert list(config) == ["ruleset"]
    assert [rule["name"] for rule in config["ruleset"]["rules"]] == ["resolve", "no-lan", "web"]


def test_the_name_filter_is_given_names_and_the_resolver_it_guards(desk: Desk) -> None:
    given_lists = [("[10.0.0.1/32]", "[10.0.0.1/32], config: {block: [lists/ads.txt], log: true}")]
    config = compile_plan(desk(topology=given_lists), EVERYTHING).vm("dns").config
    assert config == {
        "resolvers": ["10.0.0.1"],
        "block": ["ads.example", "metrics.example", "tracker.example"],
        "allow": [],
        "log": True,
    }


def test_one_text_stands_for_a_list_of_one(desk: Desk) -> None:
    one = [("[10.0.0.1/32]", "[10.0.0.1/32], config: {block: lists/ads.txt, allow: ads.example}")]
    config = compile_plan(desk(topology=one), EVERYTHING).vm("dns").config
    assert config["allow"] == ["ads.example"]
    assert config["block"] == ["ads.example", "metrics.example", "tracker.example"]


def test_the_user_os_takes_the_place_of_the_machines_own_card(plan: Plan) -> None:
    assert plan.vm("user-os").config == {
        "mac": "52:54:00:aa:00:01",
        "addresses": ["10.0.0.2/24"],
        "gateway": ["10.0.0.1"],
        "resolvers": ["10.0.0.1"],
    }


def test_the_launch_is_what_the_policy_says(desk: Desk) -> None:
    stated = [("devices:\n", "launch: {re-attest: 5 min, on-failure: stop}\ndevices:\n")]
    launch = compile_plan(desk(policy=stated), EVERYTHING).launch
    assert (launch.re_attest_s, launch.on_failure) == (300, FailureAction.STOP)


def test_reference_values_are_the_digests_of_the_document(plan: Plan) -> None:
    assert [each.digest for each in plan.reference.sinit] == [bytes([0x11] * 32)]
    assert [each.digest for each in plan.reference.vmm] == [bytes([0x22] * 32)]


def test_without_reference_values_nothing_is_accepted(desk: Desk) -> None:
    reference = compile_plan(replace(desk(), reference_values=None), EVERYTHING).reference
    assert (reference.sinit, reference.vmm, reference.images) == ((), (), {})


def test_the_order_of_keys_changes_nothing(desk: Desk) -> None:
    turned = [
        ("  firewall: {use: firewall, memory: 256 MiB, assign: [nic]}\n", ""),
        ("appliances:\n", "machine-comes-later"),
        ("machine-comes-later", "appliances:\n"),
        ("[10.0.0.1/32]}\n", "[10.0.0.1/32]}\n  firewall: {assign: [nic], memory: 256 MiB, use: firewall}\n"),
    ]
    one, other = compile_plan(desk(), EVERYTHING), compile_plan(desk(topology=turned), EVERYTHING)
    assert one.documents != other.documents
    assert replace(one, documents={}).digest == replace(other, documents={}).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: web", "name: www"),
        ("action: reject", "action: drop"),
        ("[http, https]", "[https, http]"),
        ("to: rfc1918", "to: [rfc1918, dns]"),
        ("default: drop", "default: reject"),
        ("action: reject}", "action: reject, log: true}"),
    ],
)
def test_any_change_of_a_rule_changes_the_digest(desk: Desk, plan: Plan, old: str, new: str) -> None:
    changed = compile_plan(desk(policy=[(old, new)]), EVERYTHING)
    assert replace(changed, documents=plan.documents).digest != plan.digest


@given(st.permutations(["topology", "policy", "machine", "reference-values"]))
def test_the_digest_does_not_depend_on_the_order_of_documents(order: list[str]) -> None:
    documents = {kind: kind.encode().hex() for kind in order}
    assert canonical_json(dict(documents)) == canonical_json({kind: documents[kind] for kind in sorted(documents)})


def test_everything_that_is_wrong_is_raised_in_order(desk: Desk) -> None:
    wrong = desk(topology=[("assign: [display]", "assign: [sond]")], policy=[("to: rfc1918", "to: rfc1981")])
    with pytest.raises(DocumentInvalid) as caught:
        compile_plan(wrong, EVERYTHING)
    assert [each.code for each in caught.value.diagnostics] == ["VAFW-P001", "VAFW-T003"]


def test_a_warning_does_not_keep_the_plan_from_being_made(desk: Desk) -> None:
    idle = [("  prove:", "    - {name: idle, from: user-os, to: rfc1918, service: ssh, action: drop}\n  prove:")]
    documents = desk(policy=idle)
    assert [each.code for each in check(documents)] == ["VAFW-P023"]
    assert compile_plan(documents, EVERYTHING).name == "desk"


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        (Capability.DMA_REMAPPING, "keep assigned devices to the memory of their VM (DMA remapping)"),
        (Capability.INTERRUPT_REMAPPING, "check the interrupts of assigned devices (interrupt remapping)"),
        (Capability.MEASURED_LAUNCH, "launch the VMM measured and attest it (measured launch)"),
    ],
)
def test_a_platform_that_lacks_a_capability_is_refused(desk: Desk, lacking: Capability, sentence: str) -> None:
    with pytest.raises(PlatformUnable) as caught:
        compile_plan(desk(), EVERYTHING & ~lacking)
    assert caught.value.message == f"the platform must be able to {sentence}, and it is not"


def test_a_platform_that_lacks_several_is_told_all_of_them_refused(desk: Desk) -> None:
    with pytest.raises(PlatformUnable) as caught:
        compile_plan(desk(), Capability.DMA_REMAPPING)
    assert caught.value.message == (
        "the platform must be able to check the interrupts of assigned devices (interrupt remapping) "
        "and to launch the VMM measured and attest it (measured launch), and it is not"
    )


NAMED = "    - {name: named, from: user-os, to: www.example.com, service: ssh, action: drop}\n"
TAGGED = "    - {name: tagged, from: user-os, to: any, vlan: 5, service: ssh, action: drop}\n"
ROUTED = [
    ("addresses: [10.0.0.2/24]\n  gateway: [10.0.0.1]", "addresses: [192.168.7.2/24]\n  gateway: [192.168.7.1]"),
    (
        "assign: [nic]}",
        "assign: [nic], router: {outside: [10.0.0.2/24], inside: [192.168.7.1/24], gateway: [10.0.0.1]}}",
    ),
]


def test_a_rule_that_no_kernel_can_hold_is_refused_where_the_platform_has_nothing_else(desk: Desk) -> None:
    documents = desk(topology=ROUTED, policy=[("  prove:", f"{TAGGED}  prove:")])
    assert compile_plan(documents, EVERYTHING).name == "desk"
    with pytest.raises(PlatformUnable) as caught:
        compile_plan(documents, EVERYTHING & ~Capability.INTERPRETED_RULES)
    assert caught.value.message == (
        "firewall must hold every rule of the policy in its kernel, and cannot: "
        "a router has one interface for each VLAN; rules about VLANs are for a bridge"
    )


def test_a_kernel_can_hold_a_rule_about_a_host_name(desk: Desk) -> None:
    documents = desk(policy=[("  prove:", f"{NAMED}  prove:")])
    assert compile_plan(documents, EVERYTHING & ~Capability.INTERPRETED_RULES).name == "desk"


def test_a_topology_needs_what_its_assignments_and_its_launch_need(desk: Desk) -> None:
    assert needed(desk()) == (Capability.DMA_REMAPPING | Capability.INTERRUPT_REMAPPING | Capability.MEASURED_LAUNCH)
