"""What several test modules share: the shipped example, and a run directory of the test's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.leftovers import Watch

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("vafw", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vafw")

ROOT = Path(__file__).parent.parent
WATCH = pytest.StashKey[Watch]()
LEFT = pytest.StashKey[list[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have somebody look after the processes that the tests start."""
    session.config.stash[WATCH] = Watch(str(os.getpid()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what the tests left behind; a run that leaves something behind has failed."""
    left = session.config.stash[LEFT] = session.config.stash[WATCH].end()
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was left behind, and by whom."""
    for each in config.stash.get(LEFT, []):
        terminalreporter.write_line(f"LEFT BEHIND, and ended now: {each}", red=True)


@pytest.fixture
def office() -> Path:
    """The shipped example's topology."""
    return ROOT / "policies" / "office-laptop" / "topology.yaml"


@pytest.fixture
def office_capture() -> Path:
    """The shipped example's capture of real traffic."""
    return ROOT / "policies" / "office-laptop" / "captures" / "office.pcap"


@dataclass(frozen=True)
class Finished:
    """How a command line ended."""

    code: int
    out: str
    err: str


Vafw = Callable[..., Finished]


@pytest.fixture
def vafw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vafw:
    """Run a `vafw` command line in this process, with a run directory of the test's own."""
    from vafw.cli.main import run

    monkeypatch.setenv("VAFW_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: Any) -> Finished:
        capsys.readouterr()
        code = run([str(each) for each in arguments])
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call
