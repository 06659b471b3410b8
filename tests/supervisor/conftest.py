"""The shipped example, copied and measured once for all supervisor tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.supervisor.machines import copy_office


@pytest.fixture(scope="session")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A topology file that is not to be altered."""
    return copy_office(tmp_path_factory.mktemp("office") / "office-laptop")
