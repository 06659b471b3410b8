"""SINIT: the signed code that measures the MLE, holds it against the owner's policy, and hands over.

It runs alone, from authenticated code RAM, in memory that no device reaches, and believes nothing that lies
elsewhere: every address in the heap is checked before it is used, and each byte that counts is read once,
after the device memory protection over it is on.

    platform ─▶ heap ─▶ protect (PMR) ─▶ page table ─▶ MLE hash ─▶ policy ─▶ PCR 17, 18 and log ─▶ SINIT-MLE data

TXT SDG, "SINIT". PCRs are extended at locality 3, in the details-and-authorities mapping: PCR 17 says what was
launched, PCR 18 by whose authority. The order of the events is this module's own; a verifier replays the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vafw.address import PAGE_SIZE, PAGE_SIZE_2M, Hpa
from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.tpm.rc import TpmError
from vafw.hw.txt import heap, mle_pages
from vafw.hw.txt.bios_acm import BIOS_ACM_ID
from vafw.hw.txt.bits import AcmClass, ErrorCode, Reg
from vafw.hw.txt.chipset import ProtectedRange
from vafw.hw.txt.outcome import LaunchRefused, LaunchStep, TxtError
from vafw.hw.txt.platform import TxtPlatform
from vafw.tcg.algorithms import SHA1, SHA256, digest, hash_sequence_value
from vafw.tcg.eventlog import Event, encode_log
from vafw.tcg.events import DETAILS_AND_AUTHORITIES, PCR_MAPPING_INDEX, EventType
from vafw.txt import lcp, mle
from vafw.txt.acm import Acm

DETAILS_PCR: Final = 17
AUTHORITIES_PCR: Final = 18
LOCALITY: Final = 3
_MOST_POLICY_DATA: Final = 0x1_0000
_PMEN, _PLMBASE, _PLMLIMIT, _PHMBASE, _PHMLIMIT = 0x64, 0x68, 0x6C, 0x70, 0x78
_PMEN_ENABLE: Final = 1 << 31
_FOUR_GIB: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class _Launch:
    """What SINIT found out before it measures into the TPM."""

    os: heap.OsSinitData
    mle: bytes
    """The measured bytes, as read from memory."""
    policy: lcp.Policy
    policy_data: bytes


def hash_start_data(module: Acm, edx: int) -> bytes:
    """What the hash sequence at locality 4 is fed with: digest of the signed coverage, then EDX."""
    return module.digest + edx.to_bytes(4, "little")


def run(platform: TxtPlatform, module: Acm, edx: int, steps: list[LaunchStep]) -> None:
    """Everything between authentication and the MLE's first instruction; LaunchRefused where something is wrong."""
    _require_clean_chipset(platform)
    tables, os = _read_heap(platform)
    steps.append(_protect(platform, os))
    measured = _measure(platform, module, os)
    mle_hash = digest(SHA256, measured)
    steps.append(LaunchStep("measure MLE", f"{len(measured)} bytes, SHA-256 {mle_hash.hex()}"))
    policy, data = _evaluate_policy(platform, module, os, mle_hash, steps)
    launch = _Launch(os, measured, policy, data)
    events = _extend(platform, module, edx, launch)
    steps.append(LaunchStep("extend PCR 17 and 18", f"{len(events)} events in the log"))
    _leave_behind(platform, tables, launch, edx, events)
    steps.append(LaunchStep("enter MLE", f"SINIT-MLE data version {heap.SINIT_MLE_VERSION} in the heap"))


def _require_clean_chipset(platform: TxtPlatform) -> None:
    if aliases := platform.chipset.aliases:
        first, last, target = aliases[0]
        raise _refused(
            "chipset", AcmClass.PLATFORM, 1,
            f"the aliasing registers must be reset before a launch, but {first:#x}-{last:#x} leads to {target:#x}",
        )  # fmt: skip


def _read_heap(platform: TxtPlatform) -> tuple[heap.Heap, heap.OsSinitData]:
    chipset = platform.chipset
    base, size, dpr = Hpa(chipset.get(Reg.HEAP_BASE)), chipset.get(Reg.HEAP_SIZE), chipset.dpr
    if not (dpr.base <= base and base + size <= dpr.top):
        raise _refused("heap", AcmClass.HEAP, 1, f"the TXT heap must lie in the DPR, not at {base:#x}+{size:#x}")
    try:
        tables = heap.read(platform.memory, base, size)
        heap.BiosData.decode(tables.bios)
        os = heap.OsSinitData.decode(tables.os_sinit)
    except heap.HeapError as error:
        raise _refused("heap", AcmClass.HEAP, 2, error.message) from error
    log, place = os.event_log, base + tables.event_log_at
    if not (place <= log.address and log.address + log.allocated <= place + len(tables.os_mle)):
        reason = f"the event log must lie in the heap's OS-MLE data, not at {log.address:#x}+{log.allocated:#x}"
        raise _refused("heap", AcmClass.HEAP, 3, reason)
    if log.first or log.next:
        raise _refused("heap", AcmClass.HEAP, 4, f"the event log must be empty, not end at {log.next:#x}")
    return tables, os


def _protect(platform: TxtPlatform, os: heap.OsSinitData) -> LaunchStep:
    """Turn device memory protection on where the loader asks for it, before anything there is read."""
    ranges = []
    for name, base, size, limit in (
        ("PMR low", os.pmr_low_base, os.pmr_low_size, _FOUR_GIB),
        ("PMR high", os.pmr_high_base, os.pmr_high_size, platform.memory.size),
    ):
        if base % PAGE_SIZE_2M or size % PAGE_SIZE_2M:
            raise _refused(
                "chipset", AcmClass.PROTECTED_MEMORY, 1,
                f"the {name} must begin and end at multiples of 2 MiB, not be {base:#x}+{size:#x}",
            )  # fmt: skip
        if base + size > limit:
            reason = f"the {name} must end at or below {limit:#x}, not be {base:#x}+{size:#x}"
            raise _refused("chipset", AcmClass.PROTECTED_MEMORY, 3, reason)
        if size:
            ranges.append(ProtectedRange(name, base, size))
    platform.chipset.protect(*ranges)
    if platform.remapping_unit is not None:
        _program_pmrs(platform, platform.remapping_unit, os)
    described = ", ".join(f"{each.name} {each.base:#x}-{each.base + each.size - 1:#x}" for each in ranges)
    return LaunchStep("block device DMA", described or "no PMR")


def _program_pmrs(platform: TxtPlatform, unit: Hpa, os: heap.OsSinitData) -> None:
    """Turn the remapping unit's own regions on (VT-d, "Protected Memory Enable Register"); empty is limit < base."""
    memory = platform.memory
    low, high = os.pmr_low_base, os.pmr_high_base
    memory.write_u32(Hpa(unit + _PMEN), 0)
    memory.write_u32(Hpa(unit + _PLMBASE), low if os.pmr_low_size else PAGE_SIZE_2M)
    memory.write_u32(Hpa(unit + _PLMLIMIT), low + os.pmr_low_size - PAGE_SIZE_2M if os.pmr_low_size else 0)
    memory.write_u64(Hpa(unit + _PHMBASE), high if os.pmr_high_size else PAGE_SIZE_2M)
    memory.write_u64(Hpa(unit + _PHMLIMIT), high + os.pmr_high_size - PAGE_SIZE_2M if os.pmr_high_size else 0)
    memory.write_u32(Hpa(unit + _PMEN), _PMEN_ENABLE)


def _require_protected(platform: TxtPlatform, component: str, what: str, address: int, size: int) -> None:
    """One PMR must hold all of it, and nothing of it lie in the DPR, where SINIT still writes after it measured."""
    dpr = platform.chipset.dpr
    pmrs = [each for each in platform.chipset.protected_ranges if each.name != "DPR"]
    outside_dpr = address + size <= dpr.base or dpr.top <= address
    if not (outside_dpr and any(each.covers(address, size) for each in pmrs)):
        raise _refused(
            component, AcmClass.PROTECTED_MEMORY, 2,
            f"the {what} must lie in a protected memory region outside the DPR, not at {address:#x}+{size:#x}",
        )  # fmt: skip


def _measure(platform: TxtPlatform, module: Acm, os: heap.OsSinitData) -> bytes:
    """The MLE's measured bytes, found through its page table."""
    memory = platform.memory
    try:
        pages = mle_pages.walk_page_table(memory, Hpa(os.mle_page_table))
        for page in pages:
            _require_protected(platform, "vmm", "MLE", page, PAGE_SIZE)
        measured = mle_pages.read_linear(memory, pages, 0, os.mle_size)
        header = mle.MleHeader.decode(measured[os.mle_header : os.mle_header + mle.HEADER_SIZE])
        if header.version < module.minimum_mle_version:
            raise mle.MleFormatError(
                f"the MLE header's version must be at least {module.minimum_mle_version:#x}, not {header.version:#x}"
            )
        if header.size != os.mle_size:
            raise mle.MleFormatError(f"the MLE's header must speak of {os.mle_size} bytes, not of {header.size}")
        return measured
    except mle.MleFormatError as error:
        raise _refused("vmm", AcmClass.MLE, 1, error.message) from error


def _evaluate_policy(
    platform: TxtPlatform, module: Acm, os: heap.OsSinitData, mle_hash: bytes, steps: list[LaunchStep]
) -> tuple[lcp.Policy, bytes]:
    try:
        held = platform.tpm.nv_read(LCP_OWNER_INDEX)
    except TpmError as error:
        reason = f"the owner's launch control policy must be in the TPM: {error.message}"
        raise _refused("lcp", AcmClass.POLICY, 1, reason) from error
    data = b""
    if os.lcp_size:
        if os.lcp_size > _MOST_POLICY_DATA:
            raise _refused("lcp", AcmClass.POLICY, 2, f"policy data must have at most 64 KiB, not {os.lcp_size} bytes")
        _require_protected(platform, "lcp", "policy data", os.lcp_base, os.lcp_size)
        data = platform.memory.read(Hpa(os.lcp_base), os.lcp_size)
    static_pcrs = {pcr: platform.tpm.read(pcr, SHA256) for pcr in range(8)}
    found = lcp.evaluate(held, data, mle_hash, module.acm_version, static_pcrs)
    if not found.allowed:
        number = 4 if found.component == "vmm" else 3
        raise _refused(
            found.component, AcmClass.POLICY, number, found.reason, expected=found.expected, found=found.found
        )
    steps.append(LaunchStep("evaluate launch control policy", found.reason))
    policy = lcp.Policy.decode(held)
    return policy, data if policy.type is lcp.PolicyType.LIST else b""


def _extend(platform: TxtPlatform, module: Acm, edx: int, launch: _Launch) -> tuple[Event, ...]:
    """Extend what was found into PCR 17 and 18; the events, in order, with those that extend nothing."""
    banks = platform.tpm.banks
    control = launch.policy.control.to_bytes(4, "little")
    start = hash_start_data(module, edx)
    mapping = DETAILS_AND_AUTHORITIES.to_bytes(4, "little")
    before = (
        Event(PCR_MAPPING_INDEX, EventType.TXT_PCR_MAPPING, {bank: digest(bank, mapping) for bank in banks}, mapping),
        Event(DETAILS_PCR, EventType.TXT_HASH_START, {bank: hash_sequence_value(bank, start) for bank in banks}, start),
    )
    measured = (
        (DETAILS_PCR, EventType.TXT_BIOSAC_REG_DATA, BIOS_ACM_ID + bytes(8)),  # no SMI transfer monitor (MSEG)
        (DETAILS_PCR, EventType.TXT_LCP_CONTROL_HASH, control),
        (DETAILS_PCR, EventType.TXT_LCP_DETAILS_HASH, launch.policy_data),
        (DETAILS_PCR, EventType.TXT_MLE_HASH, launch.mle),
        (AUTHORITIES_PCR, EventType.TXT_SINIT_PUBKEY_HASH, module.modulus.to_bytes(256, "little")),
        (AUTHORITIES_PCR, EventType.TXT_LCP_CONTROL_HASH, control),
        (AUTHORITIES_PCR, EventType.TXT_OSSINITDATA_CAP_HASH, launch.os.capabilities.to_bytes(4, "little")),
        (AUTHORITIES_PCR, EventType.TXT_LCP_AUTHORITIES_HASH, launch.policy.policy_hash),
    )
    return before + tuple(_extend_one(platform, *each) for each in measured)


def _extend_one(platform: TxtPlatform, pcr: int, event_type: EventType, data: bytes) -> Event:
    """Extend H(data) into every bank; the event repeats the data, except where that is the whole MLE."""
    digests = {bank: digest(bank, data) for bank in platform.tpm.banks}
    platform.tpm.extend(pcr, digests, LOCALITY)
    return Event(pcr, event_type, digests, b"" if event_type is EventType.TXT_MLE_HASH else data)


def _leave_behind(
    platform: TxtPlatform, tables: heap.Heap, launch: _Launch, edx: int, events: tuple[Event, ...]
) -> None:
    """Write the event log and the SINIT-MLE data."""
    memory, chipset = platform.memory, platform.chipset
    base, size = Hpa(chipset.get(Reg.HEAP_BASE)), chipset.get(Reg.HEAP_SIZE)
    left = heap.SinitMleData(
        bios_acm_id=BIOS_ACM_ID,
        edx=edx,
        sinit_hash=events[1].digests.get(SHA1, bytes(20)),
        mle_hash=digest(SHA1, launch.mle),
        policy_hash=digest(SHA1, launch.policy.policy_hash),
        policy_control=launch.policy.control,
        memory=_memory_map(platform),
    )
    try:
        heap.write(memory, base, size, heap.Heap(tables.bios, tables.os_mle, tables.os_sinit, left.encode()))
        heap.append_event_log(memory, base, size, encode_log(events, platform.tpm.banks))
    except heap.HeapError as error:
        raise _refused("heap", AcmClass.HEAP, 5, error.message) from error


def _memory_map(platform: TxtPlatform) -> tuple[heap.MemoryDescriptor, ...]:
    dpr = platform.chipset.dpr
    return (
        heap.MemoryDescriptor(0, dpr.base),
        heap.MemoryDescriptor(dpr.base, dpr.top - dpr.base, 4),
    )


def _refused(
    component: str, stage: AcmClass, error: int, reason: str, *, expected: str = "", found: str = ""
) -> LaunchRefused:
    return LaunchRefused(TxtError(component, reason, ErrorCode(stage, error).encode(), expected, found))
