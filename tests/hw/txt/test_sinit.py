from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.txt.conftest import Rig, RigMaker
from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import Policy, PolicyType, heap, model_key
from vafw.hw.txt.bits import AcmClass, ErrorCode, Reg
from vafw.hw.txt.outcome import TxtError
from vafw.hw.vtd import DmaFault, RemappingUnit, Translation
from vafw.tcg.algorithms import SHA1, SHA256
from vafw.tcg.eventlog import Event, decode_log
from vafw.tcg.replay import replay
from vafw.txt import lcp
from vafw.vmm.image import image_hash, measured_range


def heap_place(rig: Rig) -> tuple[Hpa, int]:
    return Hpa(rig.platform.chipset.get(Reg.HEAP_BASE)), rig.platform.chipset.get(Reg.HEAP_SIZE)


def log_of(rig: Rig) -> tuple[Event, ...]:
    return decode_log(heap.read_event_log(rig.platform.memory, *heap_place(rig)))


def ask_for(rig: Rig, **changes: int) -> None:
    """Change what the loader asks SINIT for."""
    tables = heap.read(rig.platform.memory, *heap_place(rig))
    os_sinit = replace(heap.OsSinitData.decode(tables.os_sinit), **changes)  # type: ignore[arg-type]
    heap.write(rig.platform.memory, *heap_place(rig), replace(tables, os_sinit=os_sinit.encode()))


def error_of(rig: Rig) -> TxtError:
    outcome = rig.launch()
    assert not outcome.launched
    assert outcome.error is not None
    assert rig.platform.chipset.get(Reg.ERRORCODE) == outcome.error.error_code
    assert rig.platform.tpm.read(17) == rig.platform.tpm.read(18) == b"\xff" * 32
    return outcome.error


def flip(memory: PhysicalMemory, base: int, bit: int) -> None:
    at = Hpa(base + bit // 8)
    memory.write(at, bytes([memory.read(at, 1)[0] ^ 1 << bit % 8]))


def test_replaying_the_log_gives_what_the_tpm_holds_in_both_banks(rig: Rig) -> None:
    rig.launch()
    replayed = replay(log_of(rig))
    for algorithm in (SHA256, SHA1):
        assert replayed[algorithm] == {pcr: rig.platform.tpm.read(pcr, algorithm) for pcr in (17, 18)}


def test_the_log_tells_details_in_pcr_17_and_authorities_in_pcr_18(rig: Rig) -> None:
    rig.launch()
    assert [str(event) for event in log_of(rig)] == [
        "PCR 255 PCR_MAPPING",
        "PCR 17 HASH_START",
        "PCR 17 BIOSAC_REG_DATA",
        "PCR 17 LCP_CONTROL_HASH",
        "PCR 17 LCP_DETAILS_HASH",
        "PCR 17 MLE_HASH",
        "PCR 18 SINIT_PUBKEY_HASH",
        "PCR 18 LCP_CONTROL_HASH",
        "PCR 18 OSSINITDATA_CAP_HASH",
        "PCR 18 LCP_AUTHORITIES_HASH",
    ]


def test_every_extended_event_carries_the_hash_of_its_data_or_of_the_mle(rig: Rig) -> None:
    rig.launch()
    measured = rig.files.vmm[: measured_range(rig.files.vmm).stop]
    extended = log_of(rig)[2:]
    assert [event.digests[SHA256] for event in extended] == [
        hashlib.sha256(event.data or measured).digest() for event in extended
    ]
    assert extended[3].digests[SHA256] == image_hash(rig.files.vmm)
    assert extended[3].digests[SHA1] == hashlib.sha1(measured).digest()
    assert extended[4].data == model_key.MODULUS.to_bytes(256, "little")


def test_the_mle_finds_what_sinit_left_for_it(rig: Rig) -> None:
    rig.launch(edx=5)
    left = heap.SinitMleData.decode(heap.read(rig.platform.memory, *heap_place(rig)).sinit_mle)
    assert left.edx == 5
    assert left.mle_hash == log_of(rig)[5].digests[SHA1]
    assert left.sinit_hash == log_of(rig)[1].digests[SHA1]
    assert [(each.base, each.kind) for each in left.memory] == [(0, 0), (0x3C0_0000, 4)]


@given(data=st.data())
def test_any_bit_flipped_in_the_measured_vmm_is_refused(make_rig: RigMaker, data: st.DataObject) -> None:
    rig = make_rig()
    covered = measured_range(rig.files.vmm)
    bit = data.draw(st.integers(covered.start * 8, covered.stop * 8 - 1))
    flip(rig.platform.memory, rig.loaded.vmm.base, bit)
    assert error_of(rig).component == "vmm"


def test_a_changed_vmm_is_refused_with_the_accepted_and_the_found_hash(rig: Rig) -> None:
    flip(rig.platform.memory, rig.loaded.vmm.base, rig.loaded.vmm.measured_bit)
    changed = rig.platform.memory.read(rig.loaded.vmm.base, len(rig.files.vmm))
    assert error_of(rig) == TxtError(
        "vmm",
        "the VMM in memory is none that the launch control policy lists",
        ErrorCode(AcmClass.POLICY, 4).encode(),
        image_hash(rig.files.vmm).hex(),
        image_hash(changed).hex(),
    )


def test_a_bit_behind_the_measured_range_launches_with_the_same_pcrs(make_rig: RigMaker) -> None:
    clean, rig = make_rig(), make_rig()
    flip(rig.platform.memory, rig.loaded.vmm.base, measured_range(rig.files.vmm).stop * 8)
    assert clean.launch() == rig.launch()


@given(data=st.data())
def test_any_bit_flipped_in_the_policy_data_is_refused(make_rig: RigMaker, data: st.DataObject) -> None:
    rig = make_rig()
    flip(rig.platform.memory, rig.loaded.lcp.base, data.draw(st.integers(0, rig.loaded.lcp.size * 8 - 1)))
    assert error_of(rig).component == "lcp"


def with_policy(rig: Rig, policy: bytes | None) -> None:
    """A TPM of its own, with this policy or none."""
    tpm = Tpm((SHA256, SHA1), lambda count: bytes(count - 1) + b"\1")
    tpm.startup()
    for written in [policy] if policy is not None else []:
        tpm.nv_define(LCP_OWNER_INDEX, len(written))
        tpm.nv_write(LCP_OWNER_INDEX, written)
    rig.platform.tpm = tpm


def test_a_policy_of_type_any_launches_without_policy_data(rig: Rig) -> None:
    with_policy(rig, Policy(PolicyType.ANY).encode())
    ask_for(rig, lcp_size=0)
    assert rig.launch().launched
    assert log_of(rig)[4].data == b""


def test_a_tpm_without_an_owners_policy_is_refused(rig: Rig) -> None:
    with_policy(rig, None)
    error = error_of(rig)
    assert error.component == "lcp"
    assert error.reason == (
        "the owner's launch control policy must be in the TPM: "
        "NV index 0x1c10106 must be defined before it is used (TPM_RC 0x18b)"
    )


def test_policy_data_of_another_owner_are_refused(rig: Rig) -> None:
    policy, data = lcp.policy_for([bytes(32)])
    with_policy(rig, policy.encode())
    error = error_of(rig)
    assert error == TxtError(
        "lcp",
        "the policy data in memory is not the one that the owner's policy in the TPM names",
        ErrorCode(AcmClass.POLICY, 3).encode(),
        data.policy_hash.hex(),
        lcp.PolicyData.decode(rig.files.policy_data).policy_hash.hex(),
    )


@pytest.mark.parametrize(
    ("changes", "component", "reason"),
    [
        (
            {"pmr_low_size": 0},
            "vmm",
            "the MLE must lie in a protected memory region outside the DPR, not at 0x1000000+0x1000",
        ),
        (
            {"pmr_low_base": 0x120_0000},
            "vmm",
            "the MLE must lie in a protected memory region outside the DPR, not at 0x1000000+0x1000",
        ),
        (
            {"pmr_low_base": 0x100_1000},
            "chipset",
            "the PMR low must begin and end at multiples of 2 MiB, not be 0x1001000+0x200000",
        ),
        (
            {"lcp_base": 0x50_0000},
            "lcp",
            "the policy data must lie in a protected memory region outside the DPR, not at 0x500000+0x5e",
        ),
        (
            {"pmr_low_size": 0x1_0000_0000},
            "chipset",
            "the PMR low must end at or below 0x100000000, not be 0x1000000+0x100000000",
        ),
        (
            {"pmr_high_base": 0x200_0000, "pmr_high_size": 0x400_0000},
            "chipset",
            "the PMR high must end at or below 0x4000000, not be 0x2000000+0x4000000",
        ),
        ({"lcp_size": 0x20000}, "lcp", "policy data must have at most 64 KiB, not 131072 bytes"),
        ({"mle_page_table": 0x7000_0000}, "vmm", "an MLE page table must lie in RAM, not at 0x70000000"),
        ({"mle_header": 8}, "vmm", "an MLE header must begin with its UUID, not 0f5c55a2cb51b6423400000001000200"),
        ({"mle_size": 0x2345}, "vmm", "the MLE's 0x0-0x2345 must lie in the 2 pages of its page table"),
        ({"mle_size": 0x800}, "vmm", "the MLE's header must speak of 2048 bytes, not of 4460"),
    ],
)
def test_what_the_loader_asks_for_against_the_rules_is_refused(
    rig: Rig, changes: dict[str, int], component: str, reason: str
) -> None:
    ask_for(rig, **changes)
    error = error_of(rig)
    assert (error.component, error.reason) == (component, reason)


@pytest.mark.parametrize(
    ("pointer", "reason"),
    [
        ((0x50_0000, 0x8000), "the event log must lie in the heap's OS-MLE data, not at 0x500000+0x8000"),
        ((0x3C0_0000, 0x8000), "the event log must lie in the heap's OS-MLE data, not at 0x3c00000+0x8000"),
        ((0x3C0_003C, 0x8000, 0, 9), "the event log must be empty, not end at 0x9"),
    ],
)
def test_an_event_log_elsewhere_or_with_something_in_it_is_refused(
    rig: Rig, pointer: tuple[int, ...], reason: str
) -> None:
    tables = heap.read(rig.platform.memory, *heap_place(rig))
    asked = replace(heap.OsSinitData.decode(tables.os_sinit), event_log=heap.EventLogPointer(*pointer))
    heap.write(rig.platform.memory, *heap_place(rig), replace(tables, os_sinit=asked.encode()))
    error = error_of(rig)
    assert (error.component, error.reason) == ("heap", reason)


def test_an_mle_in_the_dpr_where_sinit_still_writes_is_refused(rig: Rig) -> None:
    ask_for(rig, pmr_low_base=0x100_0000, pmr_low_size=0x300_0000)
    table = rig.loaded.vmm.base + 2 * PAGE_SIZE
    assert rig.platform.memory.read_u64(Hpa(table + 2 * PAGE_SIZE)) == rig.loaded.vmm.base | 1
    rig.platform.memory.write_u64(Hpa(table + 2 * PAGE_SIZE + 8), rig.loaded.sinit.base - PAGE_SIZE | 1)
    error = error_of(rig)
    assert (error.component, error.reason) == (
        "vmm",
        "the MLE must lie in a protected memory region outside the DPR, not at 0x3cff000+0x1000",
    )


@given(data=st.data())
def test_whatever_bit_of_heap_or_page_table_is_flipped_a_launch_is_refused_or_true(
    make_rig: RigMaker, data: st.DataObject
) -> None:
    rig = make_rig()
    tables = heap.read(rig.platform.memory, *heap_place(rig))
    base = heap_place(rig)[0]
    os_sinit = base + tables.event_log_at + len(tables.os_mle)
    page_table = rig.loaded.vmm.base + 2 * PAGE_SIZE
    start, size = data.draw(st.sampled_from([(base, 64), (os_sinit, 160), (page_table, 3 * PAGE_SIZE)]))
    flip(rig.platform.memory, start, data.draw(st.integers(0, size * 8 - 1)))
    launched = rig.launch().launched
    logs = [log_of(rig)] if launched else []
    assert all(
        replay(each)[SHA256] == {pcr: rig.platform.tpm.read(pcr) for pcr in (17, 18)}
        and each[5].digests[SHA256] == image_hash(rig.files.vmm)
        for each in logs
    )


def test_a_heap_outside_the_dpr_is_refused(rig: Rig) -> None:
    rig.platform.chipset.hw_set(Reg.HEAP_BASE, 0x10_0000)
    error = error_of(rig)
    assert (error.component, error.reason) == (
        "heap",
        "the TXT heap must lie in the DPR, not at 0x100000+0x100000",
    )


def test_a_live_aliasing_register_is_refused(rig: Rig) -> None:
    for register, value in (
        (Reg.ALIAS1_BASE, 0x10_0001),
        (Reg.ALIAS1_LIMIT, 0x10_0FFF),
        (Reg.ALIAS1_TARGET, 0x100_0000),
    ):
        rig.platform.chipset.hw_set(register, value)
    error = error_of(rig)
    assert (error.component, error.reason) == (
        "chipset",
        "the aliasing registers must be reset before a launch, but 0x100000-0x100fff leads to 0x1000000",
    )


def test_the_remapping_unit_itself_blocks_devices_from_the_vmm_once_launched(rig: Rig) -> None:
    unit = RemappingUnit(rig.platform.memory)
    rig.platform.memory.map_window(Hpa(0xFED9_0000), PAGE_SIZE, unit)
    rig.platform.remapping_unit = Hpa(0xFED9_0000)
    device, inside = Bdf(2, 0, 0), Iova(rig.loaded.vmm.base + 0x123)
    before = unit.translate(device, inside, write=True)
    assert rig.launch().launched
    after = unit.translate(device, inside, write=True)
    beside = unit.translate(device, Iova(rig.loaded.reserved_base + rig.loaded.reserved_size), write=True)
    assert [type(each) for each in (before, after, beside)] == [Translation, DmaFault, Translation]
