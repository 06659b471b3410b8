"""Real processes, noted and left behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vafw.provider.qemu.orphans import Orphan, Roster


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def altered(path: Path, **fields: object) -> None:
    """Make the noted line say something else."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields) + "\n")


def test_a_noted_process_is_ended_by_whoever_comes_next(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    Roster(tmp_path / "processes").note("firewall", child.pid)
    assert Roster(tmp_path / "processes").end_all() == (Orphan(child.pid, "firewall"),)
    assert child.wait(timeout=5) == -9
    assert Roster(tmp_path / "processes").end_all() == ()


@pytest.mark.parametrize("fields", [{"began": 1}, {"boot": "another"}], ids=str)
def test_a_process_that_only_bears_the_number_is_left_alone(
    child: subprocess.Popen[bytes], tmp_path: Path, fields: dict[str, object]
) -> None:
    Roster(tmp_path / "processes").note("firewall", child.pid)
    altered(tmp_path / "processes", **fields)
    assert Roster(tmp_path / "processes").end_all() == ()
    assert child.poll() is None


def test_a_process_that_has_ended_is_nobody(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    Roster(tmp_path / "processes").note("firewall", child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Roster(tmp_path / "processes").end_all() == ()


def test_a_line_that_was_cut_off_is_passed_over(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    roster = Roster(tmp_path / "processes")
    roster.note("firewall", child.pid)
    with (tmp_path / "processes").open("a") as file:
        file.write('{"boot": "')
    assert roster.end_all() == (Orphan(child.pid, "firewall"),)
