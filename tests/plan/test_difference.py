from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.difference import Change, difference, summary
from vafw.trace import Value

if TYPE_CHECKING:
    from tests.plan.conftest import Desk, Edits

Json = dict[str, Value]
FIREWALL = "{use: firewall, memory: 256 MiB, assign: [nic]}"


def planned(desk: Desk, *, topology: Edits = (), policy: Edits = ()) -> Json:
    return compile_plan(desk(topology=topology, policy=policy), ~Capability(0)).to_json()


def test_a_plan_does_not_differ_from_itself(desk: Desk) -> None:
    assert difference(planned(desk), planned(desk)) == ()
    assert summary((), re_attest=False) == "Plan: no changes."


def test_where_nothing_runs_everything_is_created(desk: Desk) -> None:
    found = difference(None, planned(desk))
    assert [str(each) for each in found] == [
        "  + vm firewall: new in this plan",
        "  + vm dns: new in this plan",
        "  + vm user-os: new in this plan",
        "  + link firewall-dns: new in this plan",
        "  + link dns-user-os: new in this plan",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("memory: 1 GiB", "memory: 2 GiB", "  ! vm user-os: memory-bytes: 1073741824 -> 2147483648"),
        ("vcpus: 2", "vcpus: 3", "  ! vm user-os: vcpus: 2 -> 3"),
        ("[display]", "[display, sound]", "  ! vm user-os: functions[sound]: added"),
        ("gateway: [10.0.0.1]", "gateway: [10.0.0.9]", "  ~ vm user-os: config.gateway: [10.0.0.1] -> [10.0.0.9]"),
        ("use: firewall,", "use: tapped-filter,", "-/+ vm firewall: image: firewall -> tapped-filter; ports: [outside, "
         "inside] -> [outside, inside, mirror, console]"),
    ],
)  # fmt: skip
def test_a_change_says_what_it_does_to_the_vm_and_why(desk: Desk, old: str, new: str, line: str) -> None:
    (found,) = difference(planned(desk), planned(desk, topology=[(old, new)]))
    assert str(found) == line


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("action: reject", "action: drop", "config.ruleset.rules[no-lan].action: reject -> drop"),
        ("default: drop", "default: reject", "config.ruleset.default: drop -> reject"),
        (
            "    - {name: no-lan, from: user-os, to: rfc1918, action: reject}\n",
            "",
            "config.ruleset.rules[no-lan]: removed",
        ),
    ],
)
def test_a_rule_that_changes_is_taken_by_the_firewall_while_it_runs(
    desk: Desk, old: str, new: str, reason: str
) -> None:
    (found,) = difference(planned(desk), planned(desk, policy=[(old, new)]))
    assert (found.change, found.kind, found.name, found.reasons) == (Change.LIVE, "vm", "firewall", (reason,))


def test_rules_in_another_order_are_a_change(desk: Desk) -> None:
    resolve = "    - {name: resolve, from: user-os, to: dns, service: dns, action: accept}\n"
    no_lan = "    - {name: no-lan, from: user-os, to: rfc1918, action: reject}\n"
    turned = planned(desk, policy=[(resolve + no_lan, no_lan + resolve)])
    (found,) = difference(planned(desk), turned)
    assert found.reasons == ("config.ruleset.rules: another order",)


def test_an_appliance_that_comes_in_between_rewires_its_neighbours(desk: Desk) -> None:
    more = [(FIREWALL, FIREWALL + "\n  tune: {use: tunable}"), ("firewall, dns,", "firewall, tune, dns,")]
    lines = [str(each) for each in difference(planned(desk), planned(desk, topology=more))]
    assert lines == [
        "  + vm tune: new in this plan",
        "  + link firewall-tune: new in this plan",
        "  + link tune-dns: new in this plan",
        "  - link firewall-dns: not in this plan any more",
        "-/+ path desk: path: [nic, firewall, dns, user-os] -> 5 entries",
    ]


def test_the_launch_changes_while_the_machine_runs(desk: Desk) -> None:
    stated = [("devices:\n", "launch: {re-attest: 5 min}\ndevices:\n")]
    (found,) = difference(planned(desk), planned(desk, policy=stated))
    assert str(found) == "  ~ launch desk: launch.re-attest-s: nothing -> 300"


def test_the_summary_counts_and_says_whether_the_user_goes_on_working(desk: Desk) -> None:
    more = [("vcpus: 2", "vcpus: 3"), (FIREWALL, FIREWALL.replace("firewall", "tapped-filter", 1))]
    changes = difference(planned(desk), planned(desk, topology=more))
    assert summary(changes, re_attest=True) == (
        "Plan: 0 to create, 0 live, 1 restart (user OS keeps running: no), 1 recreate, 0 to destroy. "
        "Gate: re-attest needed (PCR 19 expected to change)."
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(values, values)
def test_any_two_configurations_differ_exactly_when_a_reason_is_given(one: Value, other: Value) -> None:
    vms: list[Json] = [
        {"name": "plan", "vms": [{"name": "dns", "config": config}], "links": []} for config in (one, other)
    ]
    found = difference(*vms)
    assert bool(found) == (one != other)
    assert all(each.reasons for each in found)
