"""ACPICA's compiler, an oracle we did not write: what we emit, it disassembles and compiles to the same bytes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acpi.test_dmar import TABLE
from vafw.acpi import AndDevice, AtsRootPorts, DeviceScope, Dmar, Proximity, ScopeType, decode_dmar, encode_dmar
from vafw.address import Hpa

pytestmark = pytest.mark.skipif(not shutil.which("iasl"), reason="iasl (acpica-tools) is not installed")
PORT = DeviceScope(ScopeType.BRIDGE, 0, ((0x1C, 0), (0, 0)))
FULL = Dmar(
    48,
    (
        *TABLE.structures,
        AtsRootPorts((PORT,)),
        Proximity(Hpa(0xFED9_0000), 1),
        AndDevice(1, "\\_SB.PCI0.I2C0"),
    ),
)


@pytest.mark.parametrize("table", [TABLE, FULL])
def test_a_table_survives_disassembly_and_compilation(table: Dmar, tmp_path: Path) -> None:
    raw = encode_dmar(table)
    (tmp_path / "dmar.aml").write_bytes(raw)
    _iasl("-d", "dmar.aml", folder=tmp_path)
    (tmp_path / "dmar.aml").unlink()
    _iasl("dmar.dsl", folder=tmp_path)
    again = (tmp_path / "dmar.aml").read_bytes()
    assert decode_dmar(again).structures == table.structures
    assert again[36:] == raw[36:]


def test_the_disassembly_names_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "dmar.aml").write_bytes(encode_dmar(FULL))
    _iasl("-d", "dmar.aml", folder=tmp_path)
    lines = (tmp_path / "dmar.dsl").read_text()
    for expected in (
        "[Hardware Unit Definition]",
        "[Reserved Memory Region]",
        "[Root Port ATS Capability]",
        "[Remapping Hardware Static Affinity]",
        "[ACPI Namespace Device Declaration]",
        "PCI Path : 1C,00",
    ):
        assert expected in lines


def _iasl(*arguments: str, folder: Path) -> None:
    done = subprocess.run(["iasl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
