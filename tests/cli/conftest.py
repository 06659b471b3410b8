"""The shipped example in a folder of the test's own, measured as it is now, and that example running."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Running, running
from tests.conftest import ROOT, Vafw


@pytest.fixture
def lab(tmp_path: Path, vafw: Vafw) -> Path:
    """A topology file that a test may alter."""
    folder = tmp_path / "office-laptop"
    shutil.copytree(ROOT / "policies" / "office-laptop", folder)
    assert vafw("measure", folder, "--write").code == 0
    return folder / "topology.yaml"


@pytest.fixture
def machine(lab: Path, tmp_path: Path) -> Iterator[Running]:
    """`lab`, up."""
    with running(lab, tmp_path / "run") as up:
        yield up
