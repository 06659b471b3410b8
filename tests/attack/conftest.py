from __future__ import annotations

from pathlib import Path

import pytest

from tests.supervisor.machines import copy_office
from vafw.attack import Supplies
from vafw.cli.model_platform import load_plan


@pytest.fixture(scope="session")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example, measured as it is now."""
    return copy_office(tmp_path_factory.mktemp("attack") / "office-laptop")


@pytest.fixture(scope="session")
def supplies(topology: Path) -> Supplies:
    return Supplies.of(load_plan(topology))
