"""GETSEC[WAKEUP], [SMCTRL] and [SEXIT], teardown in order, and sleep: after each, nothing measured runs (S14, S16)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hw.txt.conftest import Rig
from vafw.address import Hpa
from vafw.hw.txt import Activity, bios_acm
from vafw.hw.txt.bits import PRIVATE_SPACE, CpuError, E2sts, Ests, Reg, Sts, cpu_error_code
from vafw.hw.txt.locality import LocalityClosed, TpmPort
from vafw.hw.txt.outcome import LaunchRefused
from vafw.hw.txt.platform import SmxProcessor, TxtPlatform
from vafw.hw.txt.sexit import CAP_MESSAGE, MleJoin, sexit, smctrl, tear_down, wakeup
from vafw.hw.txt.smx import SmxFault
from vafw.tcg.algorithms import SHA256, digest, extended

ONES = b"\xff" * 32
JOIN = MleJoin(gdt_limit=0x1F, gdt_base=0x100_0000, segment_selector=8, entry=0x100_0240)
LeafCall = Callable[[TxtPlatform, SmxProcessor], object]


def command(rig: Rig, register: Reg) -> None:
    rig.platform.memory.write(Hpa(PRIVATE_SPACE + register), b"\1")


def join_at(rig: Rig, join: MleJoin) -> None:
    place = Hpa(0x30_0000)
    rig.platform.memory.write(place, join.encode())
    rig.platform.memory.write_u64(Hpa(PRIVATE_SPACE + Reg.MLE_JOIN), place)


def test_wakeup_lets_the_sleeping_processors_into_the_mle(rig: Rig) -> None:
    rig.launch()
    join_at(rig, JOIN)
    assert wakeup(rig.platform, rig.platform.ilp) == tuple(rig.platform.rlps)
    assert {(each.activity, each.entry) for each in rig.platform.rlps} == {(Activity.RUNNING, JOIN.entry)}


@pytest.mark.parametrize(
    ("join", "reason"),
    [
        (MleJoin(0x1_0000, 0, 8, 0), "the limit of the GDT must fit 16 bits, not be 0x10000"),
        (MleJoin(0x1F, 0, 0, 0), "the segment selector must lie in the GDT from 8 up, not be 0x0"),
        (MleJoin(0x1F, 0, 24, 0), "the segment selector must lie in the GDT from 8 up, not be 0x18"),
        (MleJoin(0x1F, 0, 0xB, 0), "the segment selector must have TI and RPL clear, not be 0xb"),
    ],
)
def test_a_join_structure_that_no_processor_can_load_shuts_down_refused(rig: Rig, join: MleJoin, reason: str) -> None:
    rig.launch()
    join_at(rig, join)
    with pytest.raises(LaunchRefused) as refused:
        wakeup(rig.platform, rig.platform.ilp)
    assert str(refused.value) == reason
    assert rig.platform.chipset.get(Reg.ERRORCODE) == cpu_error_code(CpuError.INVALID_JOIN_FORMAT)
    assert rig.platform.chipset.get(Reg.ESTS) == Ests.TXT_RESET
    assert rig.platform.tpm.read(17) == ONES


def test_system_management_interrupts_wait_from_senter_to_smctrl(rig: Rig) -> None:
    rig.launch()
    assert rig.platform.ilp.smi_masked
    smctrl(rig.platform, rig.platform.ilp)
    assert not rig.platform.ilp.smi_masked


def test_smctrl_with_anything_in_ebx_faults_refused(rig: Rig) -> None:
    rig.launch()
    with pytest.raises(SmxFault) as refused:
        smctrl(rig.platform, rig.platform.ilp, ebx=1)
    assert str(refused.value) == "GETSEC[SMCTRL] raises #GP(0): EBX must be 0, not 0x1"


@pytest.mark.parametrize("leaf", [wakeup, smctrl, sexit])
def test_a_leaf_of_a_measured_environment_faults_where_none_runs_refused(rig: Rig, leaf: LeafCall) -> None:
    with pytest.raises(SmxFault) as refused:
        leaf(rig.platform, rig.platform.ilp)
    assert (refused.value.exception, refused.value.reason) == ("#GP(0)", "a measured environment must be running")


@pytest.mark.parametrize("leaf", [wakeup, smctrl, sexit])
def test_a_leaf_faults_for_a_program_in_ring_3_refused(rig: Rig, leaf: LeafCall) -> None:
    rig.launch()
    rig.platform.ilp.privilege_level = 3
    with pytest.raises(SmxFault) as refused:
        leaf(rig.platform, rig.platform.ilp)
    assert (refused.value.exception, refused.value.reason) == ("#GP(0)", "the privilege level must be 0, not 3")


@pytest.mark.parametrize("leaf", [wakeup, sexit])
def test_a_vmm_in_operation_cannot_move_the_measured_environment_refused(rig: Rig, leaf: LeafCall) -> None:
    rig.launch()
    rig.platform.ilp.vmx_operation = True
    with pytest.raises(SmxFault) as refused:
        leaf(rig.platform, rig.platform.ilp)
    assert refused.value.reason == "the processor must not be in VMX operation"


def test_sexit_with_another_processor_in_vmx_operation_shuts_down_refused(rig: Rig) -> None:
    rig.launch()
    rig.platform.rlps[0].vmx_operation = True
    with pytest.raises(LaunchRefused, match="no processor may be in VMX operation at SEXIT"):
        sexit(rig.platform, rig.platform.ilp)
    assert rig.platform.chipset.get(Reg.ERRORCODE) == cpu_error_code(CpuError.INVALID_EVENT)


def test_a_teardown_in_order_leaves_nothing_open_and_worthless_pcrs(rig: Rig) -> None:
    rig.launch()
    measured = rig.platform.tpm.read(17)
    command(rig, Reg.CMD_OPEN_LOCALITY2)
    command(rig, Reg.CMD_SECRETS)
    tear_down(rig.platform, (17, 18, 19))
    assert rig.platform.chipset.status == Sts.SEXIT_DONE
    assert rig.platform.chipset.get(Reg.E2STS) == 0
    assert {each.activity for each in rig.platform.processors} == {Activity.RUNNING}
    assert rig.platform.tpm.read(17) == extended(SHA256, measured, digest(SHA256, CAP_MESSAGE))


def test_sexit_alone_leaves_pcr_17_quotable_which_is_why_an_mle_caps_it(rig: Rig) -> None:
    rig.launch()
    measured = rig.platform.tpm.read(17)
    sexit(rig.platform, rig.platform.ilp)
    assert rig.platform.tpm.read(17) == measured
    assert not TpmPort(rig.platform.tpm, rig.platform.chipset).is_open(2)


def test_a_new_launch_after_sexit_begins_the_pcrs_anew(rig: Rig) -> None:
    rig.launch()
    first = rig.platform.tpm.read(17)
    command(rig, Reg.CMD_OPEN_LOCALITY2)
    tear_down(rig.platform, (17, 18))
    bios_acm.run(rig.platform)
    rig.load()
    assert rig.launch().launched
    assert rig.platform.tpm.read(17) == first


def test_sleep_takes_the_dynamic_pcrs_and_the_measured_environment_with_it(rig: Rig) -> None:
    rig.platform.tpm.extend(0, {SHA256: bytes(32)}, 0)
    kept = rig.platform.tpm.read(0)
    rig.launch()
    rig.platform.memory.write(Hpa(0x50_0000), b"still here")
    rig.platform.suspend()
    rig.platform.wake()
    assert rig.platform.tpm.read(17) == ONES
    assert rig.platform.tpm.read(0) == kept
    assert not rig.platform.chipset.status & Sts.SENTER_DONE
    assert rig.platform.chipset.protected_ranges == ()
    assert rig.platform.memory.read(Hpa(0x50_0000), 10) == b"still here"


def test_sleep_without_saved_tpm_state_shows_in_the_counts_that_a_quote_carries(rig: Rig) -> None:
    """CVE-2018-6622: static PCRs come back empty, and anybody could extend them to what they were."""
    before = rig.platform.tpm.clock_info
    rig.platform.suspend(save_tpm_state=False)
    rig.platform.wake()
    after = rig.platform.tpm.clock_info
    assert rig.platform.tpm.read(0) == bytes(32)
    assert (after.reset_count, after.restart_count) == (before.reset_count + 1, 0)


def test_secrets_in_memory_over_a_sleep_are_scrubbed_when_it_ends(rig: Rig) -> None:
    rig.launch()
    command(rig, Reg.CMD_SECRETS)
    rig.platform.memory.write(Hpa(0x50_0000), b"a secret")
    rig.platform.suspend()
    assert rig.platform.chipset.get(Reg.E2STS) == E2sts.SECRETS
    rig.platform.wake()
    bios_acm.run(rig.platform)
    assert rig.platform.memory.read(Hpa(0x50_0000), 8) == bytes(8)


@pytest.mark.parametrize("locality", [1, 2, 3, 4])
def test_a_locality_that_is_not_open_is_refused_before_the_tpm_hears_of_it(rig: Rig, locality: int) -> None:
    port = TpmPort(rig.platform.tpm, rig.platform.chipset)
    with pytest.raises(LocalityClosed) as refused:
        port.extend(17, {SHA256: bytes(32)}, locality)
    page = 0xFED4_0000 + locality * 0x1000
    assert str(refused.value) == f"TPM locality {locality} must be open to be used, but {page:#x} answers nothing"


@pytest.mark.parametrize("locality", [3, 4])
def test_no_command_opens_the_localities_of_sinit_and_of_the_processor_refused(rig: Rig, locality: int) -> None:
    rig.launch()
    command(rig, Reg.CMD_OPEN_LOCALITY1)
    command(rig, Reg.CMD_OPEN_LOCALITY2)
    port = TpmPort(rig.platform.tpm, rig.platform.chipset)
    assert (port.is_open(1), port.is_open(2), port.is_open(locality)) == (True, True, False)
    with pytest.raises(LocalityClosed):
        port.hash_sequence(b"a launch that never was")
