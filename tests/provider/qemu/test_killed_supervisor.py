"""The supervisor is killed, in the worst case: on a host where nothing ends its children with it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import running
from tests.conftest import Vafw
from vafw.errors import ExitCode
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind

VMS = ["firewall", "dns", "user-os"]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_up_converges_after_a_killed_one_and_ends_its_vms_and_nobody_elses(
    vafw: Vafw, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("qemu-system-x86_64", "swtpm"):  # and no setpriv
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tools))
    roster = tmp_path / "run" / "office-laptop" / "qemu" / "processes"
    with running(measured, tmp_path / "run", "--platform", "qemu") as first:
        first.process.kill()
    noted = [json.loads(line) for line in roster.read_text().splitlines()]
    left = [each["what"] for each in noted if is_alive(each["pid"])]
    with subprocess.Popen(["/bin/sleep", "600"]) as foreign:
        with roster.open("a") as file:
            file.write(json.dumps(noted[-1] | {"pid": foreign.pid}) + "\n")
        done = vafw("up", measured, "--platform", "qemu", "--until-idle", "--json")
        foreign_ended = foreign.poll()
        foreign.kill()
    events = list(RunDirectory("office-laptop", tmp_path / "run").events())
    ended = [event["subject"] for event in events if event["kind"] == EventKind.ORPHAN_ENDED]
    assert [each["what"] for each in noted] == ["tpm", *VMS]
    assert ([each for each in left if each in VMS], [each for each in ended if each in VMS]) == (VMS, VMS)
    assert foreign_ended is None
    assert [each["pid"] for each in noted if is_alive(each["pid"])] == []
    assert done.code == ExitCode.DONE
    assert {vm["phase"] for vm in json.loads(done.out)["data"]["vms"]} == {"stopped"}
