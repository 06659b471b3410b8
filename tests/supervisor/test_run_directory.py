"""The run directory has one owner, keeps what the last run left, and is nobody else's to read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from vafw.errors import Locked, NotRunning, PlatformUnable
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import KILLED, RunDirectory, runs_folder, write_event
from vafw.trace import EventKind, Trace


def test_only_its_owner_may_enter(tmp_path: Path) -> None:
    os.umask(0)
    run = RunDirectory("lab", tmp_path)
    with run.hold():
        assert stat.S_IMODE(run.path.stat().st_mode) == 0o700


def test_a_second_owner_is_refused(tmp_path: Path) -> None:
    run = RunDirectory("lab", tmp_path)
    with run.hold(), pytest.raises(Locked) as refused, RunDirectory("lab", tmp_path).hold():
        pass
    assert refused.value.message == f"lab is already up (pid {os.getpid()})"


def test_it_is_held_only_while_it_runs(tmp_path: Path) -> None:
    run = RunDirectory("lab", tmp_path)
    assert not run.is_held()
    with run.hold():
        assert run.is_held()
    assert not run.is_held()


def test_the_last_snapshot_is_kept_and_a_new_run_begins_without_it(tmp_path: Path) -> None:
    run = RunDirectory("lab", tmp_path)
    with run.hold():
        run.keep_snapshot({"phase": "stopped", "ended": "2026-01-01T00:00:00+00:00"})
    assert run.last_snapshot()["phase"] == "stopped"
    with run.hold(), pytest.raises(NotRunning):
        run.last_snapshot()


def test_a_run_that_was_killed_is_shown_as_failed_and_the_next_one_says_what_it_cleared(tmp_path: Path) -> None:
    run = RunDirectory("lab", tmp_path)
    with run.hold() as left:
        assert left == ""
        run.keep_snapshot({"phase": "up", "ended": None, "reason": ""})
    (run.path / "lock").write_text("pid 4711")
    assert run.last_snapshot() == {"phase": "failed", "ended": None, "reason": KILLED}
    with run.hold() as left:
        assert left == "an earlier run, pid 4711, was killed; what it left was cleared"


def test_a_run_that_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotRunning) as refused:
        RunDirectory("lab", tmp_path).last_snapshot()
    assert refused.value.message == "lab is not running, and no earlier run left a snapshot.json"


def test_asking_where_nobody_listens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotRunning) as refused:
        ask(RunDirectory("lab", tmp_path), "status")
    assert refused.value.message == "lab is not running"


def test_a_path_that_no_socket_fits_in_is_refused(tmp_path: Path) -> None:
    run = RunDirectory("x" * 120, tmp_path)
    with pytest.raises(PlatformUnable, match="the path of the run directory must be shorter"), run.hold():
        pass


def test_events_are_kept_one_object_a_line(tmp_path: Path) -> None:
    run = RunDirectory("lab", tmp_path)
    with run.hold(), run.event_log() as log:
        Trace(lambda: 1.5, lambda event: write_event(log, event)).record(EventKind.GUEST_LOG, "dns", line="blocked")
    expected = {"sequence": 0, "time_s": 1.5, "kind": "guest.log", "subject": "dns", "detail": {"line": "blocked"}}
    assert run.events() == [expected]
    assert json.loads((run.path / "events.jsonl").read_text()) == expected


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"VAFW_RUN_DIR": "/a", "XDG_RUNTIME_DIR": "/b"}, "/a"),
        ({"XDG_RUNTIME_DIR": "/b"}, "/b/vafw"),
        ({"HOME": "/c"}, "/c/.local/state/vafw"),
    ],
)
def test_the_environment_names_the_folder(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str
) -> None:
    for name in ("VAFW_RUN_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert runs_folder() == Path(folder)
