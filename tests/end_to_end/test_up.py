"""`vafw up` with the shipped example and its capture: what a person gets, and that nothing is lost on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Vafw
from vafw.errors import ExitCode
from vafw.traffic.pcap import read_capture


@pytest.fixture
def document(vafw: Vafw, office: Path, office_capture: Path, tmp_path: Path) -> dict[str, Any]:
    done = vafw("up", office, "--pcap", office_capture, "--pcap-out", tmp_path / "out.pcapng", "--until-idle", "--json")
    assert done.code == ExitCode.DONE
    loaded: dict[str, Any] = json.loads(done.out)
    return loaded


def frames_of(path: Path, interface: str | None = None) -> list[bytes]:
    return [each.data for each in read_capture(path) if interface in (None, each.interface)]


def test_the_machine_comes_up_attested_and_every_isolation_check_is_blocked(document: dict[str, Any]) -> None:
    data = document["data"]
    assert data["gate"]["open"] is True
    assert {claim["tier"] for claim in data["attestation"]["claims"]} == {"affirming"}
    assert data["isolation"]
    assert all(check["blocked"] for check in data["isolation"])
    assert [vm["health"]["healthy"] for vm in data["vms"]] == [True, True, True]


def test_every_frame_of_the_capture_comes_out_unchanged_or_is_dropped_with_a_rule(
    document: dict[str, Any], office_capture: Path, tmp_path: Path
) -> None:
    results = tmp_path / "out.pcapng"
    entered = Counter(frames_of(office_capture))
    dropped = Counter(frames_of(results, "dropped"))
    delivered = Counter(frames_of(results, "wire")) + Counter(frames_of(results, "user"))
    answers = delivered - entered
    assert entered - dropped - delivered == Counter()
    assert sum(entered.values()) == document["data"]["wire"]["frames"]
    assert document["data"]["wire"]["lost"] == 0
    assert all(each.comment for each in read_capture(results) if each.interface == "dropped")
    assert not [frame for frame in answers if frame in entered]


def test_nobody_is_left_without_a_record_of_who_dropped_it(document: dict[str, Any], tmp_path: Path) -> None:
    comments = Counter(each.comment for each in read_capture(tmp_path / "out.pcapng") if each.interface == "dropped")
    assert not [comment for comment in comments if "no record" in comment]
    assert {"firewall: no-lan", "dns: blocked"} <= set(comments)


def test_the_policy_decides_what_passes(document: dict[str, Any]) -> None:
    firewall = next(vm["appliance"] for vm in document["data"]["vms"] if vm["name"] == "firewall")
    outcomes = {(flow["rule"], flow["outcome"]) for flow in firewall["flows"]}
    assert {("web", "accept"), ("resolve", "accept"), ("no-lan", "reject")} <= outcomes
    assert all(rule != "web" for rule, outcome in outcomes if outcome != "accept")


def test_a_blocked_name_is_answered_in_place_of_the_resolver(document: dict[str, Any]) -> None:
    dns = next(vm["appliance"] for vm in document["data"]["vms"] if vm["name"] == "dns")
    assert "ads.example.net" in dns["blocked"]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_the_results(document: dict[str, Any], tmp_path: Path) -> None:
    done = subprocess.run(
        ["tshark", "-r", tmp_path / "out.pcapng", "-T", "fields", "-e", "frame.interface_name"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {"wire", "user", "dropped"}


def test_the_run_can_be_looked_at_afterwards(
    document: dict[str, Any], vafw: Vafw, office: Path, tmp_path: Path
) -> None:
    status = vafw("status", "office-laptop", "--json")
    picture = vafw("capture", "office-laptop", "--display", tmp_path / "screen.png")
    logs = vafw("logs", office, "--of", "firewall", "--grep", "no-lan")
    assert status.code == ExitCode.NOT_RUNNING
    assert json.loads(status.out)["data"]["wire"] == document["data"]["wire"]
    assert (picture.code, (tmp_path / "screen.png").read_bytes()[:8]) == (ExitCode.DONE, b"\x89PNG\r\n\x1a\n")
    assert "reject no-lan: tcp from 10.0.0.2" in logs.out


def test_the_tables_name_everything_a_person_asks_for(vafw: Vafw, office: Path, office_capture: Path) -> None:
    done = vafw("up", office, "--pcap", office_capture, "--until-idle")
    for title in ("Measurements", "Attestation (model)", "Gate open", "VMs", "Devices", "Path", "Isolation"):
        assert title in done.out
    for step in ("launch", "attest", "gate", "start firewall", "start dns", "start user-os", "isolation", "traffic"):
        assert f"✓ {step}" in done.err


def test_a_script_is_followed_and_the_policy_shows(vafw: Vafw, office: Path) -> None:
    done = vafw("up", office, "--script", office.parent / "script.yaml", "--until-idle", "--json")
    data = json.loads(done.out)["data"]
    user_os = data["vms"][-1]["appliance"]
    assert [step["outcome"] for step in user_os["steps"]] == ["ok", "ok", "ok", "nxdomain", "refused", "timed out"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--wire", "tap:a"], "--wire and --user must be given together: traffic goes from one to the other"),
        (["--wire", "eth0", "--user", "tap:b"], "--wire must be tap:NAME, not 'eth0'"),
        (["--pcap-out", "x.pcapng"], "--pcap-out must be given with something that feeds the machine"),
        (["--for", "soon"], "--for must be a time with its unit, such as 30 s or 5 min, not 'soon'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    vafw: Vafw, office: Path, options: list[str], message: str
) -> None:
    done = vafw("up", office, *options)
    assert (done.code, message in done.err) == (ExitCode.USAGE, True)


def test_a_second_up_of_the_same_name_is_refused(vafw: Vafw, office: Path, tmp_path: Path) -> None:
    from vafw.supervisor.run_directory import RunDirectory

    with RunDirectory("office-laptop", tmp_path / "run").hold():
        done = vafw("up", office, "--until-idle")
    assert done.code == ExitCode.LOCKED
    assert "office-laptop is already up (pid " in done.err
