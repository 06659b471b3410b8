from __future__ import annotations

import hashlib
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.txt.conftest import KEY, Rig, RigMaker
from vafw.address import Hpa
from vafw.hw.txt import Activity, SigningKey, build_sinit, senter
from vafw.hw.txt.bits import CpuError, Ests, Reg, Sts, cpu_error_code
from vafw.hw.txt.chipset import ProtectedRange
from vafw.hw.txt.outcome import TxtError
from vafw.tcg.algorithms import SHA1, SHA256
from vafw.txt import acm

ONES = b"\xff" * 32


def flip(rig: Rig, base: int, bit: int) -> None:
    at = Hpa(base + bit // 8)
    rig.platform.memory.write(at, bytes([rig.platform.memory.read(at, 1)[0] ^ 1 << bit % 8]))


def error_of(rig: Rig, edx: int = 0) -> TxtError:
    outcome = rig.launch(edx)
    assert not outcome.launched
    assert outcome.error is not None
    return outcome.error


def test_a_launch_leaves_the_chipset_locked_and_open_for_the_mle(rig: Rig) -> None:
    outcome = rig.launch()
    assert (outcome.launched, outcome.error) == (True, None)
    assert rig.platform.chipset.status == Sts.SENTER_DONE | Sts.PRIVATE_OPEN | Sts.MEM_CONFIG_LOCK
    assert {each.activity for each in rig.platform.rlps} == {Activity.SENTER_SLEEP}
    assert [step.name for step in outcome.steps] == [
        "GETSEC[SENTER]",
        "load SINIT",
        "authenticate SINIT",
        "hash sequence",
        "block device DMA",
        "measure MLE",
        "evaluate launch control policy",
        "extend PCR 17 and 18",
        "enter MLE",
    ]


@given(edx=st.integers(0, 0x7F))
def test_the_hash_sequence_takes_the_signed_coverage_and_edx(make_rig: RigMaker, edx: int) -> None:
    rig = make_rig()
    outcome = rig.launch(edx)
    module = rig.files.sinit
    data = hashlib.sha256(module[:128] + module[1216:]).digest() + edx.to_bytes(4, "little")
    value = hashlib.sha256(bytes(32) + hashlib.sha256(data).digest()).digest()
    assert outcome.steps[3].detail == f"PCR 17 = {value.hex()}"


def test_another_edx_gives_another_pcr_17(make_rig: RigMaker) -> None:
    zero, one = make_rig(), make_rig()
    zero.launch(0)
    one.launch(1)
    assert zero.platform.tpm.read(17) != one.platform.tpm.read(17)
    assert zero.platform.tpm.read(18) == one.platform.tpm.read(18)


@pytest.mark.parametrize(
    ("attribute", "value", "fault"),
    [
        ("smx_enabled", False, "#UD: CR4.SMXE must be set"),
        ("vmx_operation", True, "#GP(0): the processor must not be in VMX operation"),
        ("protected_mode", False, "#GP(0): the processor must be in protected mode"),
        ("privilege_level", 3, "#GP(0): the privilege level must be 0, not 3"),
        ("caching", False, "#GP(0): CR0.CD and CR0.NW must be clear"),
        ("numeric_error", False, "#GP(0): CR0.NE must be set"),
        ("number", 1, "#GP(0): IA32_APIC_BASE.BSP must be set"),
        ("senter_enabled", False, "#GP(0): IA32_FEATURE_CONTROL must be locked with SENTER enabled"),
        ("machine_check", True, "#GP(0): no bank may hold an uncorrected machine check"),
    ],
)
def test_a_missing_precondition_faults_and_changes_nothing_refused(
    rig: Rig, attribute: str, value: object, fault: str
) -> None:
    setattr(rig.platform.ilp, attribute, value)
    status = rig.platform.chipset.status
    assert error_of(rig) == TxtError("processor", f"GETSEC[SENTER] raises {fault}", 0)
    assert rig.platform.chipset.status == status
    assert rig.platform.tpm.read(17) == ONES


@pytest.mark.parametrize(
    ("base", "size", "reason"),
    [
        (0x3D0_0010, 0x800, "the module must lie at a multiple of 4096, not at 0x3d00010"),
        (0x3D0_0000, 0x801, "the module's size must be a multiple of 64, not 2049"),
        (0x3D0_0000, 0, "the module must have 1280 to 524288 bytes, not 0"),
        (0x3D0_0000, 0x8_0040, "the module must have 1280 to 524288 bytes, not 524352"),
        (0xFFFF_F000, 0x1040, "the module must end below 4 GiB, not at 0x100000040"),
    ],
)
def test_a_misplaced_module_faults_refused(rig: Rig, base: int, size: int, reason: str) -> None:
    outcome = senter(rig.platform, Hpa(base), size)
    assert outcome.error == TxtError("processor", f"GETSEC[SENTER] raises #GP(0): {reason}", 0)


def test_a_function_in_edx_that_is_not_enabled_faults_refused(rig: Rig) -> None:
    rig.platform.ilp.senter_functions = 0b1
    reason = "EDX must name functions that IA32_FEATURE_CONTROL enables, not 0x2"
    assert error_of(rig, edx=0b11) == TxtError("processor", f"GETSEC[SENTER] raises #GP(0): {reason}", 0)


@pytest.mark.parametrize(
    ("attribute", "code", "reason"),
    [
        ("vmx_operation", CpuError.INVALID_EVENT, "processor 2 must not be in VMX operation at the rendezvous"),
        (
            "machine_check",
            CpuError.MACHINE_CHECK,
            "processor 2 must hold no uncorrected machine check at the rendezvous",
        ),
    ],
)
def test_a_responding_processor_that_cannot_join_shuts_the_launch_down_refused(
    rig: Rig, attribute: str, code: CpuError, reason: str
) -> None:
    setattr(rig.platform.processors[2], attribute, True)
    assert error_of(rig) == TxtError("processor", reason, cpu_error_code(code))
    assert rig.platform.chipset.get(Reg.ERRORCODE) == cpu_error_code(code)


def test_a_second_launch_on_top_of_the_first_faults_refused(rig: Rig) -> None:
    rig.launch()
    reason = "GETSEC[SENTER] raises #GP(0): no measured environment may be running"
    assert error_of(rig) == TxtError("processor", reason, 0)


def test_a_module_outside_the_dpr_is_refused(rig: Rig) -> None:
    rig.platform.memory.write(Hpa(0x20_0000), rig.files.sinit)
    error = senter(rig.platform, Hpa(0x20_0000), len(rig.files.sinit)).error
    reason = (
        f"the SINIT module must lie in the locked DPR 0x3c00000-0x4000000, not at 0x200000+{len(rig.files.sinit):#x}"
    )
    assert error == TxtError("sinit", reason, cpu_error_code(CpuError.ACM_FORMAT))


def test_a_module_in_memory_of_another_type_is_refused(rig: Rig) -> None:
    rig.platform.ilp.acm_write_back = False
    reason = "the SINIT module's memory must be of type WB"
    assert error_of(rig) == TxtError("sinit", reason, cpu_error_code(CpuError.ACM_MEMORY_TYPE))


def test_a_module_signed_with_another_key_is_refused(rig: Rig) -> None:
    other = SigningKey(KEY.modulus - 2, 3)
    rig.platform.memory.write(rig.loaded.sinit.base, build_sinit(b"the code of SINIT" * 20, other))
    assert error_of(rig) == TxtError(
        "sinit",
        "the SINIT module's key is not the one whose hash the chipset holds (TXT.PUBLIC.KEY)",
        cpu_error_code(CpuError.AUTHENTICATE_FAIL),
        KEY.public_key_hash.hex(),
        other.public_key_hash.hex(),
    )


def test_a_changed_signed_byte_is_refused_with_both_digests(rig: Rig) -> None:
    flip(rig, rig.loaded.sinit.base, rig.loaded.sinit.measured_bit)
    changed = rig.platform.memory.read(rig.loaded.sinit.base, rig.loaded.sinit.size)
    assert error_of(rig) == TxtError(
        "sinit",
        "the SINIT module's signature does not hold: a signed byte, or the signature, was changed",
        cpu_error_code(CpuError.AUTHENTICATE_FAIL),
        acm.coverage_digest(rig.files.sinit).hex(),
        acm.coverage_digest(changed).hex(),
    )


@given(data=st.data())
def test_any_bit_flipped_outside_the_scratch_space_of_sinit_is_refused(make_rig: RigMaker, data: st.DataObject) -> None:
    rig = make_rig()
    last = rig.loaded.sinit.size * 8 - 1
    outside = st.integers(0, acm.SCRATCH_AT * 8 - 1) | st.integers(acm.USER_AT * 8, last)
    flip(rig, rig.loaded.sinit.base, data.draw(outside))
    error = error_of(rig)
    assert error.component == "sinit"
    assert rig.platform.chipset.get(Reg.ERRORCODE) == error.error_code
    assert rig.platform.tpm.read(17, SHA256) == ONES
    assert rig.platform.tpm.read(17, SHA1) == ONES[:20]


@given(bit=st.integers(acm.SCRATCH_AT * 8, acm.USER_AT * 8 - 1))
def test_a_flipped_bit_of_the_scratch_space_launches_with_the_same_pcrs(make_rig: RigMaker, bit: int) -> None:
    clean, rig = make_rig(), make_rig()
    flip(rig, rig.loaded.sinit.base, bit)
    assert clean.launch() == rig.launch()
    assert [rig.platform.tpm.read(pcr) for pcr in (17, 18)] == [clean.platform.tpm.read(pcr) for pcr in (17, 18)]


def test_a_module_for_another_chipset_is_refused(rig: Rig) -> None:
    rig.platform.chipset.hw_set(Reg.DIDVID, 0x1_B003_8086)
    reason = "the SINIT module's chipset list must name this chipset"
    assert error_of(rig) == TxtError("sinit", reason, cpu_error_code(CpuError.UNSUPPORTED_ACM))


def test_a_module_for_another_processor_is_refused(rig: Rig) -> None:
    rig.platform.ilp.signature = 0x000806E9
    reason = "the SINIT module's processor list must name this processor"
    assert error_of(rig) == TxtError("sinit", reason, cpu_error_code(CpuError.UNSUPPORTED_ACM))


def test_a_failed_launch_resets_the_platform_and_the_next_one_needs_a_power_cycle(rig: Rig) -> None:
    flip(rig, rig.loaded.sinit.base, rig.loaded.sinit.measured_bit)
    assert rig.launch().steps[-1].name == "TXT reset"
    assert rig.platform.chipset.get(Reg.ESTS) == Ests.TXT_RESET
    assert {each.activity for each in rig.platform.processors} == {Activity.RUNNING}
    assert error_of(rig).reason == "GETSEC[SENTER] raises #GP(0): TXT.ESTS must not have TXT_RESET set"


def test_devices_reach_neither_sinit_nor_the_heap_nor_the_vmm_once_launched(rig: Rig) -> None:
    chipset, loaded = rig.platform.chipset, rig.loaded
    assert chipset.device_write(loaded.vmm.base, b"before the launch") is None
    rig.platform.memory.write(loaded.vmm.base, rig.files.vmm)
    assert rig.launch().launched
    blocked = [chipset.device_write(each, b"evil") for each in (loaded.sinit.base, loaded.vmm.base, loaded.lcp.base)]
    pmr = ProtectedRange("PMR low", loaded.reserved_base, loaded.reserved_size)
    assert blocked == [ProtectedRange("DPR", 0x3C0_0000, 0x40_0000), pmr, pmr]
    assert rig.platform.memory.read(loaded.vmm.base, len(rig.files.vmm)) == rig.files.vmm


def test_a_key_of_random_numbers_never_authenticates(rig: Rig) -> None:
    forged = SigningKey(KEY.modulus, secrets.randbelow(1 << 2000) | 1)
    rig.platform.memory.write(rig.loaded.sinit.base, build_sinit(b"the code of SINIT" * 20, forged))
    assert error_of(rig).error_code == cpu_error_code(CpuError.AUTHENTICATE_FAIL)
