"""The static measurement and its log (S16): replayed by us and by tpm2_eventlog to the TPM's own registers."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hw.txt.conftest import RigMaker
from vafw.hw.tpm import Tpm
from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.txt import Policy, PolicyData, PolicyType, srtm
from vafw.provider.model.loader import LaunchFiles, place
from vafw.tcg.algorithms import SHA1, SHA256
from vafw.tcg.eventlog import decode_log
from vafw.txt.lcp import PolicyList
from vafw.txt.lcp_elements import MleElement, PconfElement, PcrInfo
from vafw.vmm.image import image_hash


@pytest.fixture
def tpm() -> Tpm:
    tpm = Tpm((SHA256, SHA1), lambda length: bytes(range(length)))
    tpm.startup()
    return tpm


def test_the_log_replays_to_the_registers(tpm: Tpm) -> None:
    log = srtm.measure(tpm)
    replayed = Tpm((SHA256, SHA1), lambda length: bytes(range(length)))
    replayed.startup()
    for event in decode_log(log):
        replayed.extend(event.pcr, dict(event.digests), 0)
    banks = [(pcr, bank) for pcr in range(8) for bank in tpm.banks]
    assert [replayed.read(*each) for each in banks] == [tpm.read(*each) for each in banks]
    assert all(tpm.read(pcr) != bytes(32) for pcr in range(8))


def test_tpm2_eventlog_replays_it_to_the_same_registers(tpm: Tpm, tmp_path: Path) -> None:
    tool = shutil.which("tpm2_eventlog")
    if tool is None:
        pytest.skip("tpm2_eventlog is not installed (Debian package tpm2-tools)")
    (tmp_path / "log").write_bytes(srtm.measure(tpm))
    done = subprocess.run([tool, "log"], cwd=tmp_path, capture_output=True, text=True, check=True)
    sha256 = done.stdout[done.stdout.index("pcrs:") :].partition("sha256:")[2]
    found = {int(pcr): value for pcr, value in re.findall(r"(\d+)\s*: 0x([0-9a-f]{64})", sha256)}
    assert found == {pcr: tpm.read(pcr).hex() for pcr in range(8)}


def test_another_boot_loader_shows_in_pcr_4_alone(tpm: Tpm) -> None:
    other = Tpm((SHA256, SHA1), lambda length: bytes(range(length)))
    other.startup()
    srtm.measure(tpm)
    srtm.measure(other, loader=(replace(srtm.BOOT_LOADER[0], data=b"another loader"), srtm.BOOT_LOADER[1]))
    assert [pcr for pcr in range(24) if tpm.read(pcr) != other.read(pcr)] == [4]


@pytest.mark.parametrize(("loader", "launched"), [(srtm.BOOT_LOADER, True), (srtm.BOOT_LOADER[1:], False)])
def test_a_policy_that_is_bound_to_the_static_registers_launches_on_that_platform_only(
    make_rig: RigMaker, tpm: Tpm, loader: tuple[srtm.Measured, ...], launched: bool
) -> None:
    srtm.measure(tpm)
    wanted = PcrInfo.of({pcr: tpm.read(pcr) for pcr in range(8)})
    rig = make_rig()
    elements = (MleElement((image_hash(rig.files.vmm),)), PconfElement((wanted,)))
    data = PolicyData((PolicyList(elements),))
    bound = Tpm((SHA256, SHA1), lambda length: bytes(range(length)))
    bound.startup()
    srtm.measure(bound, loader=loader)
    bound.nv_define(LCP_OWNER_INDEX, 70)
    bound.nv_write(LCP_OWNER_INDEX, Policy(PolicyType.LIST, data.policy_hash).encode())
    rig.platform.tpm = bound
    rig.loaded = place(rig.platform, LaunchFiles(rig.files.sinit, rig.files.vmm, data.encode()))
    outcome = rig.launch()
    assert (outcome.launched, outcome.error.component if outcome.error else "") == (launched, "" if launched else "lcp")
