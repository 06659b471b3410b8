from __future__ import annotations

import pytest

from tests.hw.pci.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()
