"""The boot loader of a measured launch, as tboot is one: it places everything in memory and executes GETSEC[SENTER].

Nothing that it does is trusted: SINIT checks every address that it leaves in the heap. That is also why
tampering has its place here, between the loader and SENTER: `Tamper` flips one bit of a component as it
lies in modelled memory.

    16 MiB   VMM image ─ MLE page table ─ policy data       one protected memory region (PMR low), whole 2 MiB units
    DPR      heap, with the event log in its OS-MLE data ─ SINIT module
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vafw.address import PAGE_SIZE, PAGE_SIZE_2M, Hpa
from vafw.errors import UsageError, VafwError
from vafw.hw.memory import PhysicalMemory
from vafw.hw.txt import heap, mle_pages
from vafw.hw.txt.bits import Reg
from vafw.hw.txt.outcome import LaunchOutcome, LaunchStep, TxtError
from vafw.hw.txt.platform import TxtPlatform
from vafw.hw.txt.senter import senter
from vafw.tcg.algorithms import SHA256
from vafw.tcg.eventlog import decode_log, encode_event
from vafw.tcg.events import EventType
from vafw.txt import acm, mle
from vafw.vmm.image import ARCHIVE_START, CAPABILITIES

VMM_BASE: Final = Hpa(16 * 1024 * 1024)
"""Where the VMM's image is placed."""


class LaunchComponent(StrEnum):
    """What can be tampered with around a launch."""

    SINIT = "sinit"
    VMM = "vmm"
    LCP = "lcp"
    LOG = "log"
    LAUNCH = "launch"
    """The launch itself: it is skipped."""


@dataclass(frozen=True, slots=True)
class Tamper:
    """One bit of one component, flipped in memory after the loader has placed it."""

    component: LaunchComponent
    bit: int | None = None
    """Counted from the component's first byte, lowest bit first; None for one that is measured."""


@dataclass(frozen=True, slots=True)
class LaunchFiles:
    """What the loader loads."""

    sinit: bytes
    vmm: bytes
    """The image of the VMM, whole pages."""
    policy_data: bytes
    """The owner's policy data file."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one component lies."""

    component: LaunchComponent
    base: Hpa
    size: int
    measured_bit: int
    """The first bit that is sure to be measured, which `Tamper` flips unless told otherwise."""
    scratch: range = range(0)
    """Offsets of bytes that no launch measures, by the format's own word."""


@dataclass(frozen=True, slots=True)
class LoadedMemory:
    """The loader's work."""

    sinit: Placed
    vmm: Placed
    lcp: Placed
    reserved_base: Hpa
    """First byte of the memory that the launch keeps from everybody, below the DPR."""
    reserved_size: int


class LoaderError(VafwError):
    """Files that cannot be placed."""


def launch(platform: TxtPlatform, files: LaunchFiles, tamper: Tamper | None = None) -> LaunchOutcome:
    """Place the files, execute GETSEC[SENTER], and tamper where told; UsageError for a bit that is not there."""
    loaded = place(platform, files)
    if tamper is not None and tamper.component is LaunchComponent.LAUNCH:
        skipped = LaunchStep("skip GETSEC[SENTER]", "the VMM was entered without a measured launch")
        reason = "GETSEC[SENTER] was not executed: nothing measured the VMM"
        return LaunchOutcome(False, (skipped,), TxtError("launch", reason, 0))
    if tamper is not None and tamper.component is not LaunchComponent.LOG:
        _flip(platform.memory, getattr(loaded, tamper.component.value), tamper)
    outcome = senter(platform, loaded.sinit.base, loaded.sinit.size)
    if tamper is not None and tamper.component is LaunchComponent.LOG and outcome.launched:
        _flip(platform.memory, _placed_log(platform), tamper)
    return outcome


def place(platform: TxtPlatform, files: LaunchFiles) -> LoadedMemory:
    """Write the files, the MLE page table and the heap's OS data into memory; LoaderError where they do not fit."""
    memory, chipset = platform.memory, platform.chipset
    header = mle.MleHeader.decode(files.vmm[: mle.HEADER_SIZE])
    vmm = Placed(LaunchComponent.VMM, VMM_BASE, header.end, ARCHIVE_START * 8)
    pages = -(-header.size // PAGE_SIZE)
    table = Hpa(VMM_BASE + -(-len(files.vmm) // PAGE_SIZE) * PAGE_SIZE)
    lcp_base = Hpa(table + mle_pages.page_table_size(pages))
    lcp = Placed(LaunchComponent.LCP, lcp_base, len(files.policy_data), len(files.policy_data) * 8 - 1)
    reserved = -(-(lcp_base + len(files.policy_data) - VMM_BASE) // PAGE_SIZE_2M) * PAGE_SIZE_2M
    sinit_base, sinit_size = Hpa(chipset.get(Reg.SINIT_BASE)), chipset.get(Reg.SINIT_SIZE)
    code_bit = acm.parse(files.sinit).code_at * 8
    scratch = range(acm.SCRATCH_AT, acm.USER_AT)
    sinit = Placed(LaunchComponent.SINIT, sinit_base, len(files.sinit), code_bit, scratch)
    if len(files.sinit) > sinit_size:
        raise LoaderError(f"the SINIT module must fit the {sinit_size} bytes that the BIOS gives it")
    if VMM_BASE + reserved > chipset.dpr.base:
        raise LoaderError(f"the VMM must fit below the DPR at {chipset.dpr.base:#x}")
    memory.write(VMM_BASE, files.vmm)
    mle_pages.build_page_table(memory, table, VMM_BASE, header.size)
    memory.write(lcp_base, files.policy_data)
    memory.write(sinit_base, files.sinit)
    _fill_heap(platform, table, lcp, header.size, reserved)
    return LoadedMemory(sinit, vmm, lcp, VMM_BASE, reserved)


def _fill_heap(platform: TxtPlatform, table: Hpa, lcp: Placed, mle_size: int, reserved: int) -> None:
    """Keep the BIOS data, add the OS-MLE data (the event log's place) and the OS-SINIT data."""
    base, size = Hpa(platform.chipset.get(Reg.HEAP_BASE)), platform.chipset.get(Reg.HEAP_SIZE)
    bios_size = platform.memory.read_u64(base)
    bios = platform.memory.read(Hpa(base + 8), bios_size - 8)
    empty_log = bytes(heap.EVENT_LOG_SIZE)
    log_at = Hpa(base + heap.Heap(bios, empty_log).event_log_at)
    os_sinit = heap.OsSinitData(
        mle_page_table=table,
        mle_size=mle_size,
        mle_header=0,
        pmr_low_base=VMM_BASE,
        pmr_low_size=reserved,
        lcp_base=lcp.base if lcp.size else 0,
        lcp_size=lcp.size,
        capabilities=CAPABILITIES,
        event_log=heap.EventLogPointer(log_at, heap.EVENT_LOG_SIZE),
    )
    heap.write(platform.memory, base, size, heap.Heap(bios, empty_log, os_sinit.encode()))


def event_log(platform: TxtPlatform) -> bytes:
    """The event log in the heap, as far as it is written; empty where no launch wrote one, or a reset took it."""
    if not platform.chipset.get(Reg.HEAP_BASE):
        return b""
    return heap.read_event_log(platform.memory, *_heap_place(platform))


def append_event_log(platform: TxtPlatform, records: bytes) -> None:
    """Append encoded events to the log in the heap."""
    heap.append_event_log(platform.memory, *_heap_place(platform), records)


def _heap_place(platform: TxtPlatform) -> tuple[Hpa, int]:
    return Hpa(platform.chipset.get(Reg.HEAP_BASE)), platform.chipset.get(Reg.HEAP_SIZE)


def _placed_log(platform: TxtPlatform) -> Placed:
    """The log; unless told otherwise, the bit flipped is in the digest of the MLE."""
    tables = heap.read(platform.memory, *_heap_place(platform))
    pointer = heap.OsSinitData.decode(tables.os_sinit).event_log
    log = event_log(platform)
    events = decode_log(log)
    at = next(number for number, each in enumerate(events) if each.event_type == EventType.TXT_MLE_HASH)
    mle_event = len(log) - sum(len(encode_event(each)) for each in events[at:])
    digest = log.index(events[at].digests[SHA256], mle_event)
    return Placed(LaunchComponent.LOG, Hpa(pointer.address), len(log), digest * 8)


def _flip(memory: PhysicalMemory, placed: Placed, tamper: Tamper) -> None:
    bit = placed.measured_bit if tamper.bit is None else tamper.bit
    if not 0 <= bit < placed.size * 8:
        raise UsageError(f"{placed.component} has bits 0 to {placed.size * 8 - 1}, not {bit}")
    if bit // 8 in placed.scratch:
        raise UsageError(f"bit {bit} of {placed.component} lies in its scratch space, which nothing measures or runs")
    at = Hpa(placed.base + bit // 8)
    memory.write(at, bytes((memory.read(at, 1)[0] ^ 1 << bit % 8,)))
