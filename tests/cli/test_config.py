"""`vafw config` against a machine that is up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Running, running
from tests.conftest import Vafw
from vafw.errors import ExitCode

SET = ("config", "set", "office-laptop", "firewall")


def data(out: str) -> Any:
    return json.loads(out)["data"]


@pytest.fixture
def machine(lab: Path, tmp_path: Path) -> Iterator[Running]:
    """The shipped example, up with its control plane."""
    with running(lab, tmp_path / "run") as up:
        yield up


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAFW_RUN_DIR", str(tmp_path / "run"))


def test_a_value_is_set_shown_and_rolled_back(machine: Running, vafw: Vafw) -> None:
    path = "traffic.rules[web].service"
    done = vafw(*SET, f"{path}=[https, quic]", "--json")
    assert (done.code, data(done.out)["in-sync"], data(done.out)["desired"]["generation"]) == (0, True, 2)
    assert vafw("config", "get", "office-laptop", "firewall", path).out == "[https, quic]\n"
    assert "firewall: generation 3, in sync\n" in vafw("config", "rollback", "office-laptop", "firewall").out
    assert vafw("config", "get", "office-laptop", "firewall", path).out == "[http, https, quic]\n"
    history = vafw("config", "history", "office-laptop", "firewall").out.splitlines()
    assert [line.split()[0] for line in history] == ["3", "2", "1"]
    assert [each["appliance"] for each in data(vafw("config", "get", "office-laptop", "--json").out)] == [
        "dns",
        "firewall",
    ]


def test_status_shows_what_is_desired_and_what_runs(machine: Running, vafw: Vafw) -> None:
    firewall = next(vm for vm in data(vafw("status", "office-laptop", "--json").out)["vms"] if vm["name"] == "firewall")
    assert firewall["desired"] == {key: firewall["reported"][key] for key in ("epoch", "generation", "hash", "status")}
    assert (firewall["desired"]["generation"], firewall["desired"]["status"]) == (1, "applied")
    vafw(*SET, "traffic.rules[web].log=true")
    said = vafw("status", "office-laptop").out
    assert len(re.findall(r"generation 2 \(sha256:[0-9a-f]{8}\) is desired and applied", said)) == 1
    assert len(re.findall(r"generation 1 \(sha256:[0-9a-f]{8}\) is desired and applied", said)) == 1


def test_a_change_that_breaks_a_proof_is_refused_with_its_place(machine: Running, vafw: Vafw) -> None:
    done = vafw(*SET, "traffic.rules[web].action=drop")
    assert done.code == ExitCode.INVALID_DOCUMENT
    assert "error[VAFW-P021]: every packet of this clause must pass, and 'web' stops one" in done.err
    assert "/office-laptop/policy.yaml:" in done.err
    as_json = json.loads(vafw(*SET, "traffic.rules[web].action=drop", "--json").out)
    assert as_json["exit"]["code"] == 65
    assert "VAFW-P021" in {each["code"] for each in as_json["diagnostics"]}
    assert "firewall: generation 1, in sync\n" in vafw("config", "get", "office-laptop", "firewall").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((*SET, "traffic.rules[wbe].action=drop"), ExitCode.NO_SUCH_OBJECT, "did you mean 'web'?"),
        ((*SET, "traffic.default"), ExitCode.USAGE, "a change must be written PATH=VALUE, not 'traffic.default'"),
        (
            ("config", "get", "office-laptop", "router"),
            ExitCode.NO_SUCH_OBJECT,
            "the appliance must be one of dns, firewall, not 'router'",
        ),
        (
            ("config", "rollback", "office-laptop", "firewall"),
            ExitCode.NO_SUCH_OBJECT,
            "firewall must have a generation that differs to go back to; before 1.1 it has none",
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(
    machine: Running, vafw: Vafw, arguments: tuple[str, ...], code: ExitCode, said: str
) -> None:
    done = vafw(*arguments)
    assert done.code == code
    assert said in done.err


def test_what_was_committed_is_in_force_at_the_next_start(lab: Path, tmp_path: Path, vafw: Vafw) -> None:
    with running(lab, tmp_path / "run"):
        vafw(*SET, "traffic.rules[web].log=true")
        vafw("down", "office-laptop")
    with running(lab, tmp_path / "run"):
        assert "firewall: generation 2, in sync\n" in vafw("config", "get", "office-laptop", "firewall").out


def test_documents_that_were_edited_are_pushed_and_are_the_latest_word_at_the_next_start(
    lab: Path, tmp_path: Path, vafw: Vafw
) -> None:
    policy = lab.with_name("policy.yaml")
    with running(lab, tmp_path / "run"):
        policy.write_text(policy.read_text().replace("service: [http, https, quic]", "service: [https]"))
        assert "firewall: generation 2, in sync\n" in vafw("config", "push", "office-laptop", "firewall").out
        vafw("down", "office-laptop")
    policy.write_text(policy.read_text().replace("service: [https]", "service: [https, quic]"))
    with running(lab, tmp_path / "run"):
        assert "firewall: generation 3, in sync\n" in vafw("config", "get", "office-laptop", "firewall").out


def test_a_run_without_a_control_plane_refuses(lab: Path, tmp_path: Path, vafw: Vafw) -> None:
    with running(lab, tmp_path / "run", "--no-control"):
        done = vafw("config", "get", "office-laptop")
    assert done.code == ExitCode.NOT_RUNNING
    assert "appliances must be configured by a control plane, and this run has none (yet)" in done.err


def test_what_the_policys_management_does_not_allow_is_refused(lab: Path, tmp_path: Path, vafw: Vafw) -> None:
    policy = lab.with_name("policy.yaml")
    was = "{may-configure: {firewall: [netops], dns: [secops]}, signatures: 1}"
    policy.write_text(policy.read_text().replace(was, "{may-configure: {dns: [secops]}, signatures: 1}"))
    said = "firewall must be named by management.may-configure to be configured, which names dns"
    with running(lab, tmp_path / "run"):
        assignment = "traffic.rules[web].log=true"
        for change in (
            (*SET, assignment),
            ("config", "push", "office-laptop", "firewall"),
            ("config", "propose", "office-laptop", "firewall", assignment),
        ):
            refused = vafw(*change)
            assert refused.code == ExitCode.REFUSED
            assert said in refused.err
        assert "firewall: generation 1, in sync\n" in vafw("config", "get", "office-laptop", "firewall").out


def test_up_on_a_damaged_ledger_starts_nothing_and_says_what_to_do(lab: Path, tmp_path: Path, vafw: Vafw) -> None:
    ledger = tmp_path / "run" / "office-laptop" / "state" / "ledger.sqlite"
    with running(lab, tmp_path / "run"):
        assert vafw("down", "office-laptop").code == 0
    ledger.write_bytes(b"\xff" * ledger.stat().st_size)
    refused = vafw("up", lab, "--until-idle")
    assert refused.code == ExitCode.FAILED
    assert f"the ledger {ledger} must be whole: file is not a database" in refused.err
    assert "put a copy of it back and begin a new epoch, or move it away to begin with the documents" in refused.err
    assert vafw("up", lab, "--until-idle", "--no-control").code == 0


def test_a_change_on_trial_is_shown_refuses_another_and_is_confirmed(machine: Running, vafw: Vafw) -> None:
    trial = ("--confirm-within", "5 min")
    done = vafw(*SET, "traffic.rules[web].log=true", *trial)
    assert "firewall: generation 2, in sync\n" in done.out
    assert "on-trial, 2 runs: it goes back at " in done.out
    assert "on-trial: it goes back at " in vafw("status", "office-laptop").out
    another = vafw("config", "push", "office-laptop", "firewall", *trial)
    assert another.code == ExitCode.REFUSED
    assert "must wait until the one before it is confirmed or went back: generation 1.2 is on trial" in another.err
    assert "keep it with vafw config confirm TOPOLOGY firewall, or let its time pass" in another.err
    confirmed = vafw("config", "confirm", "office-laptop", "firewall")
    assert "confirmed, 2 runs: it was confirmed in time" in confirmed.out
    assert vafw("config", "history", "office-laptop", "firewall").out.splitlines()[0].endswith(" [confirmed]")


def test_a_time_without_a_unit_is_refused(vafw: Vafw) -> None:
    done = vafw(*SET, "traffic.rules[web].log=true", "--confirm-within", "30")
    assert done.code == ExitCode.USAGE
    assert "a time must be written such as `30 s`, `5 min` or `1 h`, not '30'" in done.err
