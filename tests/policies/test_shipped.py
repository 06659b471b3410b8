"""Every shipped policy is whole, correct, proven, and does on the model what its page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Vafw
from vafw.document.load import load_topology
from vafw.plan.compile import check
from vafw.plan.rules import compile_rules
from vafw.traffic.nftables.rendering import nftables_text

POLICIES = sorted(each.parent for each in (ROOT / "policies").glob("*/topology.yaml"))
EXPECTED: dict[str, dict[str, Any]] = {
    "home": {
        "steps": ["ok", "ok", "ok", "nxdomain", "refused", "timed out", "timed out"],
        "rules": {"resolve": 8, "no-lan": 1, "web": 1, "(default)": 6},
    },
    "kiosk": {
        "steps": ["refused", "ok", "ok", "ok", "timed out"],
        "rules": {"resolve": 2, "library": 2, "elsewhere": 3, "(default)": 3},
    },
    "office-laptop": {
        "steps": ["ok", "ok", "ok", "nxdomain", "refused", "timed out"],
        "rules": {"resolve": 6, "gateway-ping": 1, "no-lan": 1, "web": 1, "(default)": 3},
    },
    "research-lab": {
        "steps": ["ok", "ok", "nxdomain", "refused", "ok", "refused"],
        "rules": {"resolve": 8, "no-lan": 1, "web": 1, "shell": 1, "bulk": 1, "data": 1},
    },
    "road-warrior": {
        "steps": ["timed out", "timed out", "refused"],
        "rules": {"no-lan": 1},
    },
}  # fmt: skip
"""What the user's steps come to, and how many packets each rule decided on."""
NIGHT, AFTERNOON = "2026-11-30T22:30Z", "2026-11-30T16:30:00+00:00"


def test_there_is_a_folder_for_every_kind_of_user() -> None:
    assert {"office-laptop", "home", "kiosk", "research-lab", "road-warrior"} <= {each.name for each in POLICIES}


@pytest.mark.parametrize("folder", POLICIES, ids=lambda each: str(each.name))
def test_a_shipped_policy_contradicts_nothing_and_its_proofs_hold(folder: Path) -> None:
    documents = load_topology(folder / "topology.yaml", environment={})
    assert [each.message for each in check(documents)] == []
    assert len(documents.policy.model.traffic.prove) >= 3


@pytest.mark.parametrize("folder", POLICIES, ids=lambda each: str(each.name))
def test_a_shipped_policy_has_a_page_that_says_what_it_is(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    assert page.startswith(f"# {folder.name}\n")
    assert f"vafw up policies/{folder.name}/topology.yaml" in page


@pytest.mark.parametrize("folder", POLICIES, ids=lambda each: str(each.name))
def test_a_shipped_policy_compiles_to_the_same_text_each_time(folder: Path) -> None:
    ruleset = compile_rules(load_topology(folder / "topology.yaml", environment={}))
    bare = type(ruleset)(ruleset.rules, ruleset.default, ruleset.inside)
    texts = {nftables_text(bare, inside="in0", outside="out0", layout=each) for each in ("flat", "auto", "auto")}
    assert len(texts) == 1


@pytest.mark.parametrize("folder", POLICIES, ids=lambda each: str(each.name))
def test_a_shipped_policy_does_on_the_model_what_its_page_says(folder: Path, vafw: Vafw) -> None:
    script = "--script", folder / "script.yaml", "--clock", NIGHT
    done = vafw("up", folder / "topology.yaml", *script, "--until-idle", "--json")
    data: dict[str, Any] = json.loads(done.out)["data"]
    reports = {vm["name"]: vm["appliance"] for vm in data["vms"]}
    expected = EXPECTED[folder.name]
    assert [step["outcome"] for step in reports["user-os"]["steps"]] == expected["steps"]
    counted = {name: count["packets"] for name, count in reports["firewall"]["rules"].items()}
    assert counted | expected["rules"] == counted


def test_the_kiosk_reaches_the_web_through_its_proxy_alone(vafw: Vafw) -> None:
    folder = ROOT / "policies" / "kiosk"
    done = vafw("up", folder / "topology.yaml", "--script", folder / "script.yaml", "--until-idle", "--json")
    proxy = {vm["name"]: vm["appliance"] for vm in json.loads(done.out)["data"]["vms"]}["proxy"]
    assert proxy["requests"] == {"allowed": 2, "blocked": 1, "refused": 0}
    assert [(each["site"], each["verdict"], each["rule"]) for each in proxy["latest"]] == [
        ("www.example.com:80", "allowed", "allow www.example.com"),
        ("www.example.com:443", "allowed", "allow www.example.com"),
        ("news.example.org:80", "blocked", "not in allow"),
    ]


def test_the_lab_is_watched_by_an_ids_that_can_stop_nothing(vafw: Vafw) -> None:
    folder = ROOT / "policies" / "research-lab"
    done = vafw("up", folder / "topology.yaml", "--script", folder / "script.yaml", "--until-idle", "--json")
    reports = {vm["name"]: vm["appliance"] for vm in json.loads(done.out)["data"]["vms"]}
    assert set(reports["ids"]["alerts"]) == {"sid-1000001", "sid-1000002"}
    assert reports["ids"]["frames"] == sum(reports["tap"]["frames"].values())


def test_the_children_of_the_home_may_play_in_the_afternoon(vafw: Vafw) -> None:
    folder = ROOT / "policies" / "home"
    script = "--script", folder / "script.yaml", "--clock", AFTERNOON
    done = vafw("up", folder / "topology.yaml", *script, "--until-idle", "--json")
    reports = {vm["name"]: vm["appliance"] for vm in json.loads(done.out)["data"]["vms"]}
    assert reports["user-os"]["steps"][-1]["outcome"] == "refused", "by the host, which has no such service"
    assert reports["firewall"]["rules"]["play"]["packets"] == 1


def lab_with(vafw: Vafw, *options: str) -> tuple[list[str], dict[str, Any]]:
    """What the steps of the lab's script come to, and the frames at its wires."""
    folder = ROOT / "policies" / "research-lab"
    script = "--script", folder / "script.yaml", "--until-idle", "--json"
    data: dict[str, Any] = json.loads(vafw("up", folder / "topology.yaml", *script, *options).out)["data"]
    reports = {vm["name"]: vm["appliance"] for vm in data["vms"]}
    return [step["outcome"] for step in reports["user-os"]["steps"]], data["wire"]


def test_the_lab_sends_bulk_transfers_by_its_second_line_and_all_else_by_the_first(vafw: Vafw) -> None:
    steps, wire = lab_with(vafw)
    assert steps[-1] == "refused", "by the host, which offers none"
    assert wire["from-nic"] > 10
    assert 0 < wire["from-mobile"] < 5


def test_the_lab_goes_on_by_its_second_line_when_the_first_is_pulled(vafw: Vafw) -> None:
    steps, wire = lab_with(vafw, "--unplug", "nic")
    assert steps == ["timed out", "ok", "nxdomain", "refused", "ok", "refused"], "the first is lost to noticing it"
    assert (wire["from-nic"], wire["to-nic"]) == (0, 0)


def test_the_lab_goes_on_by_its_first_line_when_the_second_is_pulled(vafw: Vafw) -> None:
    steps, wire = lab_with(vafw, "--unplug", "mobile")
    assert steps[:-1] == ["ok", "ok", "nxdomain", "refused", "ok"]
    assert (wire["from-mobile"], wire["to-mobile"]) == (0, 0)


def test_a_cable_that_no_wire_has_is_refused_before_anything_starts(vafw: Vafw) -> None:
    done = vafw("up", ROOT / "policies" / "research-lab" / "topology.yaml", "--unplug", "eth0", "--until-idle")
    assert done.code == 2
    assert done.err == "error: a wire must be that of nic or mobile, not of 'eth0'\n"
