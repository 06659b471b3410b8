from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.supervisor.machines import copy_office
from vafw.attack import Supplies
from vafw.document.load import load_topology
from vafw.plan.compile import compile_plan
from vafw.provider.model.provider import ModelProvider


def supplies_of(topology: Path) -> Supplies:
    documents = load_topology(topology)
    return Supplies.of(compile_plan(documents, ModelProvider.CAPABILITY), documents)


@pytest.fixture(scope="session")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example, measured as it is now."""
    return copy_office(tmp_path_factory.mktemp("attack") / "office-laptop")


@pytest.fixture(scope="session")
def supplies(topology: Path) -> Supplies:
    return supplies_of(topology)


@pytest.fixture(scope="session")
def supplies_of_one(tmp_path_factory: pytest.TempPathFactory) -> Supplies:
    """A firewall, a user OS without a screen, and little memory."""
    folder = tmp_path_factory.mktemp("attack") / "office-laptop"
    topology = copy_office(folder)
    for name, before, after in (
        ("topology.yaml", r"  dns:\n(    .*\n)+", ""),
        ("topology.yaml", r"  assign: \[display\]\n", ""),
        ("topology.yaml", r"firewall, dns, user-os", "firewall, user-os"),
        ("policy.yaml", r"    - \{name: resolve.*\n", ""),
        ("policy.yaml", r", dns: \[secops\]", ""),
        ("machine.yaml", r"memory: 8 GiB", "memory: 3 GiB"),
    ):
        text = (folder / name).read_text()
        altered, times = re.subn(before, after, text)
        assert times == 1, (name, before)
        (folder / name).write_text(altered)
    return supplies_of(topology)
