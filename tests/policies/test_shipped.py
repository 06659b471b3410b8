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
WITH_SCRIPT = [each for each in POLICIES if each.name != "office-laptop"]
EXPECTED: dict[str, dict[str, Any]] = {
    "home": {
        "steps": ["ok", "ok", "ok", "nxdomain", "refused", "timed out"],
        "rules": {"resolve": 6, "no-lan": 1, "web": 1, "(default)": 3},
    },
    "kiosk": {
        "steps": ["refused", "ok", "ok", "ok", "timed out"],
        "rules": {"resolve": 2, "library": 2, "elsewhere": 3, "(default)": 3},
    },
    "research-lab": {
        "steps": ["ok", "ok", "nxdomain", "refused", "ok"],
        "rules": {"resolve": 6, "no-lan": 1, "web": 1, "shell": 1},
    },
    "road-warrior": {
        "steps": ["timed out", "timed out", "refused"],
        "rules": {"no-lan": 1},
    },
}  # fmt: skip
"""What the user's steps come to, and how many packets each rule decided on."""


def test_there_is_a_folder_for_every_kind_of_user() -> None:
    assert {"office-laptop", "home", "kiosk", "research-lab", "road-warrior"} <= {each.name for each in POLICIES}


@pytest.mark.parametrize("folder", POLICIES, ids=lambda each: str(each.name))
def test_a_shipped_policy_contradicts_nothing_and_its_proofs_hold(folder: Path) -> None:
    documents = load_topology(folder / "topology.yaml", environment={})
    assert [each.message for each in check(documents)] == []
    assert len(documents.policy.model.traffic.prove) >= 3


@pytest.mark.parametrize(
    "folder", [each for each in POLICIES if each.name != "office-laptop"], ids=lambda each: each.name
)
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


@pytest.mark.parametrize("folder", WITH_SCRIPT, ids=lambda each: str(each.name))
def test_a_shipped_policy_does_on_the_model_what_its_page_says(folder: Path, vafw: Vafw) -> None:
    done = vafw("up", folder / "topology.yaml", "--script", folder / "script.yaml", "--until-idle", "--json")
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
