"""The command line on the QEMU platform, as far as the gate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import Vafw
from tests.contract.benches import require_qemu
from vafw.errors import ExitCode
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind


def test_an_altered_image_ends_in_exit_20_and_nothing_was_started(vafw: Vafw, measured: Path, tmp_path: Path) -> None:
    done = vafw("up", measured, "--platform", "qemu", "--until-idle", "--tamper", "appliance=firewall", "--json")
    document = json.loads(done.out)
    kinds = [event["kind"] for event in RunDirectory("office-laptop", tmp_path / "run").events()]
    assert done.code == ExitCode.GATE_FAILED == document["exit"]["code"]
    assert document["data"]["gate"]["component"] == "image firewall"
    assert document["data"]["attestation"]["root-of-trust"] == "software-launch"
    assert EventKind.VM_STARTED not in kinds


def test_every_event_of_a_launch_on_qemu_is_accounted_for_and_the_altered_one_is_named(
    vafw: Vafw, measured: Path, tmp_path: Path
) -> None:
    good = vafw("attest", "explain", measured, "--platform", "qemu", "--json")
    told = json.loads(good.out)["data"]
    assert (good.code, told["tier"]) == (ExitCode.DONE, "affirming")
    assert [each["component"] for each in told["events"]][:2] == ["sinit", "vmm"]
    assert {each["verdict"] for each in told["events"]} == {"accepted"}
    assert [(each["pcr"], each["agrees"]) for each in told["registers"]] == [(17, True), (18, True), (19, True)]
    bad = vafw("attest", "explain", measured, "--platform", "qemu", "--json", "--tamper", "appliance=firewall")
    told = json.loads(bad.out)["data"]
    refused = [(each["pcr"], each["component"]) for each in told["events"] if each["verdict"] == "not accepted"]
    assert (bad.code, refused) == (ExitCode.GATE_FAILED, [(19, "image firewall")])
    assert told["explanation"][0] == "image firewall: image firewall is none of those that the reference values accept."


def test_a_launch_beside_a_topology_that_runs_is_refused(vafw: Vafw, measured: Path, tmp_path: Path) -> None:
    with RunDirectory("office-laptop", tmp_path / "run").hold():
        assert vafw("attest", "explain", measured, "--platform", "qemu").code == ExitCode.LOCKED


def test_a_host_that_was_never_measured_is_refused_and_told_how(vafw: Vafw, office: Path, tmp_path: Path) -> None:
    require_qemu()
    folder = tmp_path / "office"
    shutil.copytree(office.parent, folder, ignore=shutil.ignore_patterns("*-qemu.yaml"))
    done = vafw("up", folder / "topology.yaml", "--platform", "qemu")
    path = folder / "reference-values-qemu.yaml"
    assert done.code == ExitCode.NO_SUCH_OBJECT
    assert f"the QEMU platform of this host must have reference values, and there are none: {path}" in done.err
    assert f"vafw measure {folder}/topology.yaml --platform qemu --write" in done.err


def test_what_feeds_only_the_model_is_refused(vafw: Vafw, office: Path, office_capture: Path) -> None:
    require_qemu()
    done = vafw("up", office, "--platform", "qemu", "--pcap", office_capture)
    assert done.code == ExitCode.USAGE
    assert "the QEMU platform can be fed by --script and --wire only, not by --pcap" in done.err
