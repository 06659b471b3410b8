"""What a test run leaves behind is ended and named, also where the run was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.leftovers import NAME, Watch, of

SLEEP = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
KILLED = f"import os, signal; from tests.leftovers import Watch; Watch('{{run}}'); {SLEEP}; os.kill(os.getpid(), 9)"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The word of a run of this test's own; the environment is as it was when the test ends."""
    monkeypatch.setenv(NAME, os.environ.get(NAME, ""))
    return f"{os.getpid()}-{tmp_path.name}"


def test_what_a_test_left_behind_is_ended_and_named(run: str) -> None:
    watch = Watch(run)
    subprocess.run([sys.executable, "-c", SLEEP], check=True)
    (left,) = of(run)
    assert watch.end() == [f"{os.environ['PYTEST_CURRENT_TEST']}: {left.pid} sleep 600"]
    assert list(of(run)) == []


def test_what_ends_by_itself_is_not_complained_of(run: str) -> None:
    watch = Watch(run)
    subprocess.run(["true"], check=True)
    assert watch.end() == []


def test_a_run_that_was_killed_leaves_nothing_behind(run: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED.format(run=run)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    until_s = time.monotonic() + 60
    while left := list(of(run)):
        assert time.monotonic() < until_s, left
