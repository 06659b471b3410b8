"""The shipped example, measured for the QEMU platform of this host."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Vafw
from tests.contract.benches import require_qemu
from vafw.errors import ExitCode


@pytest.fixture
def measured(vafw: Vafw, office: Path, tmp_path: Path) -> Path:
    """The shipped example with the reference values of this host beside it."""
    require_qemu()
    folder = tmp_path / "office"
    shutil.copytree(office.parent, folder)
    assert vafw("measure", folder / "topology.yaml", "--platform", "qemu", "--write").code == ExitCode.DONE
    return folder / "topology.yaml"
