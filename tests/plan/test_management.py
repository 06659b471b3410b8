"""Who may configure what, as it gets into the plan: and from there into what is measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conftest import ROOT
from tests.plan.conftest import Desk
from vafw.document.load import load_topology
from vafw.machine.authority import Authority
from vafw.machine.capability import Capability
from vafw.openssh.public_key import PublicKey
from vafw.plan.compile import compile_plan
from vafw.plan.difference import difference
from vafw.plan.plan import Plan

EVERYTHING = ~Capability(0)
KEYS = {name: str(PublicKey(bytes([number]) * 32)) for number, name in enumerate(("anna", "ben", "carla"))}
LAST = "  - require: interrupt-remapping\n"


def managed(groups: str = "secops", *, signatures: int = 2, key: str = KEYS["ben"]) -> tuple[str, str]:
    """The desk's policy with people in it; `groups` are carla's."""
    return (
        LAST,
        f"{LAST}management:\n"
        "  people:\n"
        f'    anna: {{key: "{KEYS["anna"]} anna@desk", groups: [netops]}}\n'
        f'    ben: {{key: "{key}", groups: [secops, netops]}}\n'
        f'    carla: {{key: "{KEYS["carla"]}", groups: [{groups}]}}\n'
        f"  may-configure: {{firewall: [netops], dns: [secops, netops]}}\n"
        f"  signatures: {signatures}\n",
    )


def plan_of(desk: Desk, *edits: tuple[str, str]) -> Plan:
    return replace(compile_plan(desk(policy=edits), EVERYTHING), documents={})


def test_an_appliance_is_configured_by_the_people_of_its_groups_and_their_comments_are_no_part_of_it(
    desk: Desk,
) -> None:
    plan = plan_of(desk, managed())
    firewall, dns = plan.vm("firewall"), plan.vm("dns")
    assert firewall.authority == Authority(2, {name: KEYS[name] for name in ("anna", "ben")})
    assert dns.authority == Authority(2, KEYS)
    assert plan.vm("user-os").authority is None


def test_an_appliance_that_is_not_named_is_configured_by_nobody(desk: Desk) -> None:
    dns = plan_of(desk, managed(), ("dns: [secops, netops]}", "}")).vm("dns")
    assert dns.authority == Authority(2, {})


def test_where_nobody_is_declared_the_plan_is_what_it_was(desk: Desk) -> None:
    plain = plan_of(desk)
    named = plan_of(desk, (LAST, f"{LAST}management: {{may-configure: {{firewall: [netops]}}, signatures: 1}}\n"))
    assert plain.digest == named.digest
    assert [vm.authority for vm in named.vms] == [None] * len(named.vms)


@pytest.mark.parametrize(
    "different",
    [managed("secops, netops"), managed(signatures=1), managed(key=str(PublicKey(b"\x07" * 32)))],
    ids=["group", "signatures", "key"],
)
def test_another_group_number_or_key_is_another_plan(desk: Desk, different: tuple[str, str]) -> None:
    assert plan_of(desk, managed()).digest != plan_of(desk, different).digest


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ((), (managed(),), ["authority: nothing -> 2 entries"]),
        ((managed(),), (), ["authority: 2 entries -> nothing"]),
        ((managed(),), (managed("netops"),), ["authority.people.carla: added"]),
    ],
    ids=["declared", "taken out", "one more"],
)
def test_other_people_restart_an_appliance(
    desk: Desk, before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...], lines: list[str]
) -> None:
    found = difference(plan_of(desk, *before).to_json(), plan_of(desk, *after).to_json())
    assert {str(each) for each in found if each.name == "firewall"} == {f"  ! vm firewall: {line}" for line in lines}


def test_the_lab_that_is_shipped_asks_two_people_for_every_appliance_that_is_named() -> None:
    documents = load_topology(ROOT / "policies" / "research-lab" / "topology.yaml")
    plan = compile_plan(documents, EVERYTHING)
    asked = {vm.name: (vm.authority.required, sorted(vm.authority.people)) for vm in plan.vms if vm.authority}
    named = {name: (2, ["anna", "ben"]) for name in ("firewall", "ids", "dns")}
    assert {name: asked[name] for name in named} == named
    assert all(asked[name] == (2, []) for name in set(asked) - set(named))
