"""What several test modules share: the shipped example, and a run directory of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("vafw", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vafw")

ROOT = Path(__file__).parent.parent


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
