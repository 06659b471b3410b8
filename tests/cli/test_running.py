"""A machine that is up, asked and stopped from other command lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.cli.running import Running, running
from tests.conftest import Vafw
from vafw.errors import ExitCode
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind


def data(out: str) -> Any:
    return json.loads(out)["data"]


def stopped(tmp_path: Path) -> list[str]:
    events: list[Any] = RunDirectory("office-laptop", tmp_path / "run").events()
    return [event["subject"] for event in events if event["kind"] == EventKind.VM_STOPPED]


def test_status_shows_a_running_machine(machine: Running, vafw: Vafw) -> None:
    done = vafw("status", "office-laptop")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    assert done.out.startswith("● office-laptop on office-pc\n      State: up since ")
    assert re.search(r"^       Gate: open: every one of \d+ claims is affirming$", done.out, re.MULTILINE)
    for vm in ("firewall", "dns", "user-os"):
        assert f"  ● {vm:<12} healthy  since " in done.out


def test_status_as_json_is_the_snapshot(machine: Running, vafw: Vafw) -> None:
    document = json.loads(vafw("status", "office-laptop", "--json").out)
    assert (document["kind"], document["exit"]) == ("Status", {"code": 0, "class": "done"})
    assert (document["data"]["phase"], document["data"]["ended"]) == ("up", None)
    assert [vm["phase"] for vm in document["data"]["vms"]] == ["healthy"] * 3


def test_a_run_is_found_by_name_file_or_folder(machine: Running, vafw: Vafw, lab: Path) -> None:
    assert [vafw("status", each).code for each in ("office-laptop", lab, lab.parent)] == [ExitCode.DONE] * 3


def test_each_attestation_has_a_fresh_nonce(machine: Running, vafw: Vafw) -> None:
    first, second = (data(vafw("attest", "office-laptop", "--json").out) for _ in range(2))
    assert first["attestation"]["tier"] == second["attestation"]["tier"] == "affirming"
    assert first["attestation"]["nonce"] != second["attestation"]["nonce"]
    assert first["gate"]["open"] is True


def test_attest_prints_the_claims(machine: Running, vafw: Vafw) -> None:
    done = vafw("attest", "office-laptop")
    assert done.code == ExitCode.DONE
    assert "Attestation (model)" in done.out
    assert re.search(r"Gate open: every one of \d+ claims is affirming", done.out)


def test_tampering_with_what_runs_already_is_refused(machine: Running, vafw: Vafw) -> None:
    done = vafw("attest", "office-laptop", "--tamper", "vmm")
    assert done.code == ExitCode.USAGE
    assert done.err == "error: --tamper must be used with a fresh launch, not with a topology that runs\n"


def test_the_screen_is_captured_as_png(machine: Running, vafw: Vafw, tmp_path: Path) -> None:
    picture = tmp_path / "screen.png"
    done = vafw("capture", "office-laptop", "--display", picture)
    assert (done.code, picture.read_bytes()[:8]) == (ExitCode.DONE, b"\x89PNG\r\n\x1a\n")


def test_a_picture_that_cannot_be_written_is_refused(machine: Running, vafw: Vafw, tmp_path: Path) -> None:
    done = vafw("capture", "office-laptop", "--display", tmp_path / "nowhere" / "screen.png")
    assert done.code == ExitCode.FAILED
    assert done.err == f"error: {tmp_path / 'nowhere' / 'screen.png'}: no such file or directory\n"


def test_the_log_of_a_running_machine_is_read(machine: Running, vafw: Vafw) -> None:
    lines = vafw("logs", "office-laptop", "--grep", "vm.healthy").out.splitlines()
    assert [line.split()[1] for line in lines] == ["firewall", "dns", "user-os"]
    assert {each["subject"] for each in data(vafw("logs", "office-laptop", "--of", "dns", "--json").out)} == {"dns"}


def test_plan_finds_no_changes_until_the_topology_is_changed(machine: Running, vafw: Vafw, lab: Path) -> None:
    same = vafw("plan", lab, "--exit-code")
    lab.write_text(lab.read_text().replace("memory: 192 MiB", "memory: 224 MiB"))
    changed = vafw("plan", lab, "--exit-code")
    assert (same.code, same.out.splitlines()[-1]) == (ExitCode.DONE, "Plan: no changes.")
    assert changed.code == ExitCode.PLAN_HAS_CHANGES
    assert "  ! vm dns: memory-bytes: 201326592 -> 234881024\n" in changed.out
    assert "0 live, 1 restart (user OS keeps running: yes)" in changed.out


def test_a_second_up_of_the_same_name_is_refused(machine: Running, vafw: Vafw, lab: Path) -> None:
    done = vafw("up", lab)
    assert done.code == ExitCode.LOCKED
    assert done.err == (
        f"error: office-laptop is already up (pid {machine.process.pid})\n"
        "hint: vafw status office-laptop shows it, vafw down office-laptop ends it\n"
    )


def test_down_stops_the_user_os_first_and_returns_when_all_is_down(
    machine: Running, vafw: Vafw, tmp_path: Path
) -> None:
    done = vafw("down", "office-laptop", "--json")
    code, _ = machine.end()
    assert (done.code, code, data(done.out)["phase"]) == (ExitCode.DONE, ExitCode.DONE, "stopped")
    assert stopped(tmp_path) == ["user-os", "dns", "firewall"]
    assert vafw("status", "office-laptop").code == ExitCode.NOT_RUNNING


def test_what_ran_last_is_shown_and_captured_after_its_end(machine: Running, vafw: Vafw, tmp_path: Path) -> None:
    vafw("down", "office-laptop")
    done = vafw("status", "office-laptop")
    assert (done.code, done.out.splitlines()[0]) == (ExitCode.NOT_RUNNING, "○ office-laptop on office-pc")
    assert done.err == "office-laptop is not running; this is how its last run ended\n"
    assert vafw("capture", "office-laptop", "--display", tmp_path / "screen.png").code == ExitCode.DONE
    assert vafw("logs", "office-laptop").code == ExitCode.DONE


def test_ctrl_c_ends_it_cleanly_in_reverse_order(machine: Running, tmp_path: Path) -> None:
    machine.interrupt()
    code, said = machine.end()
    assert (code, stopped(tmp_path)) == (ExitCode.DONE, ["user-os", "dns", "firewall"])
    assert "Traceback" not in said
    with RunDirectory("office-laptop", tmp_path / "run").hold():
        pass


def test_it_can_come_up_again_after_it_was_killed(machine: Running, lab: Path, tmp_path: Path, vafw: Vafw) -> None:
    machine.process.kill()
    machine.end()
    assert vafw("status", "office-laptop").code == ExitCode.NOT_RUNNING
    with running(lab, tmp_path / "run") as again:
        assert vafw("status", "office-laptop").code == ExitCode.DONE
        again.interrupt()
        assert again.end()[0] == ExitCode.DONE


def test_it_ends_by_itself_after_its_time(lab: Path, tmp_path: Path) -> None:
    with running(lab, tmp_path / "run", "--for", "1 s") as machine:
        assert machine.end()[0] == ExitCode.DONE
