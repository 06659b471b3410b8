"""Translations of the modelled PC, each beside a limit measured in the same run.

    .venv/bin/python benchmarks/model.py [--rounds N]

Every figure is the median of interleaved rounds; quote the ratios, never a single time. The limit is a 4-level walk
unrolled by hand over one `memoryview.cast("Q")`, inlined in its loop, with the rights of all levels checked. Beside it
stands the same walk in C (`walk.c`, where there is a compiler), which is what NumPy's batches are to be seen against.

    C batch        `walk.c`, built with -O2
    EPT walk       four levels, every check of the model, no cache
    EPT miss       the same with the processor's paging-structure cache       goal: 1.0 of unrolled
    EPT hit        a guest-physical mapping that the processor remembers      goal: 3 walks
    EPT batch      NumPy, tables flattened anew                               goal: 12 of unrolled
    DMA walk       VT-d second level, from the paging-structure cache         goal: 1.0 of unrolled
    DMA miss       the whole remapping unit, IOTLB emptied
    IOTLB hit      the whole remapping unit again                             goal: 3 of a DMA miss
    DMA batch      NumPy, tables flattened anew                               goal: 12 of unrolled
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vafw.address import Bdf, Gpa, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pc import REMAPPING_UNIT, REMAPPING_UNIT_SIZE
from vafw.hw.vmx.ept import AccessKind, EptCapability, Translation, walk
from vafw.hw.vmx.ept_batch import flatten
from vafw.hw.vmx.guest_physical import GuestPhysical
from vafw.hw.vmx.quick_walk import Demand, StructureCache, quick_walk
from vafw.hw.vmx.translation import Mappings
from vafw.hw.vtd import DmaFault, RemappingUnit
from vafw.hw.vtd.context import Context, find_context
from vafw.hw.vtd.paging_structures import find_directory, small_page
from vafw.hw.vtd.second_level import SecondLevel
from vafw.hw.vtd.second_level_batch import SecondLevelBatch
from vafw.hw.vtd.table_walk import READ
from vafw.vmm.ept_tables import EptTables
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.remapping import RemappingDriver

DEVICE = Bdf(2, 0, 0)
PAGES = 512
BATCH = 1 << 18
ADDRESS = 0x000F_FFFF_FFFF_F000


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each, run in turn."""
    times = [[timed(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def flat_tables() -> memoryview:
    """Four tables one behind the other, of which the last maps `PAGES` pages."""
    flat = memoryview(bytearray(5 * 4096)).cast("Q")
    for level in range(3):
        flat[level * 512] = (level + 1) << 12 | 7
    for index in range(512):
        flat[3 * 512 + index] = 4 << 12 | 7
    return flat


def in_c(rounds: int) -> float | None:
    """Walks a second of `walk.c`; None where nothing compiles it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/walk.so"
        source = str(Path(__file__).with_name("walk.c"))
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        walk_in_c = ctypes.CDLL(library).walk
    walk_in_c.restype = ctypes.c_size_t
    flat = np.frombuffer(flat_tables(), np.uint64)
    addresses = np.random.default_rng(1).integers(0, PAGES << 12, BATCH, np.uint64)
    results = np.empty(BATCH, np.uint64)
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (flat, addresses, results)]
    if walk_in_c(*pointers, ctypes.c_size_t(BATCH)):
        raise ValueError("page without the right to be read")
    return BATCH / interleaved(rounds, lambda: walk_in_c(*pointers, ctypes.c_size_t(BATCH)))[0]


def unrolled_limit() -> Callable[[], None]:
    """`PAGES` walks as fast as Python makes them: no function, no reserved bits, no large pages, no sparse memory."""
    flat = flat_tables()

    def unrolled() -> None:
        for address in range(0, PAGES << 12, 4096):
            top = flat[address >> 39 & 511]
            upper = flat[((top & ADDRESS) >> 3) + (address >> 30 & 511)]
            lower = flat[((upper & ADDRESS) >> 3) + (address >> 21 & 511)]
            leaf = flat[((lower & ADDRESS) >> 3) + (address >> 12 & 511)]
            if not top & upper & lower & leaf & 1:
                raise ValueError("page without the right to be read")

    return unrolled


def second_stage_of_a_processor(rounds: int) -> list[tuple[str, float]]:
    """Translations a second through EPT, the limit first."""
    memory = PhysicalMemory(1 << 30)
    tables = EptTables(memory, FrameAllocator(Hpa(1 << 20), 64 << 20))
    for page in range(PAGES):
        tables.map(Gpa(page << 12), Hpa((256 << 20) + (page * 7 % PAGES << 12)), 4096)
    capability, eptp = EptCapability(), tables.eptp
    for page in range(PAGES):
        assert isinstance(walk(memory, eptp, Gpa(page << 12), AccessKind.READ, capability), Translation)
    demand = Demand(AccessKind.READ, accessed_dirty=True, physical_bits=capability.physical_bits)
    structures = StructureCache(memory, eptp, capability)
    processor = GuestPhysical(memory, capability)
    processor.bind(eptp, Mappings(), structures)
    for page in range(PAGES):
        assert isinstance(processor.delta(page << 12, AccessKind.READ), int)
    addresses = np.random.default_rng(1).integers(0, PAGES << 12, BATCH, np.uint64)

    def walks() -> None:
        root, words = eptp & ADDRESS, memory.tables
        for gpa in range(0, PAGES << 12, 4096):
            if quick_walk(words, root, gpa, demand) < 0:
                raise ValueError("refused")

    def misses() -> None:
        for gpa in range(0, PAGES << 12, 4096):
            if structures.translate(gpa, 1) < 0:
                raise ValueError("refused")

    def hits() -> None:
        find, kind = processor.mappings.find, AccessKind.READ
        for gpa in range(0, PAGES << 12, 4096):
            if find(gpa, kind) is None:
                raise ValueError("refused")

    def batch() -> None:
        flatten(memory, eptp, capability).translate(addresses, 1)

    limit, *ours = interleaved(rounds, unrolled_limit(), walks, misses, hits, batch)
    names = ("EPT walk", "EPT miss", "EPT hit", "EPT batch")
    counts = (PAGES, PAGES, PAGES, BATCH)
    figures = [(name, count / seconds) for name, count, seconds in zip(names, counts, ours, strict=True)]
    return [("unrolled", PAGES / limit), *figures]


def remapping_of_devices(rounds: int) -> list[tuple[str, float]]:
    """Translations a second through VT-d, the limit first."""
    memory = PhysicalMemory(1 << 30)
    unit = RemappingUnit(memory)
    memory.map_window(REMAPPING_UNIT, REMAPPING_UNIT_SIZE, unit)
    driver = RemappingDriver(memory, FrameAllocator(Hpa(1 << 20), 64 << 20), REMAPPING_UNIT)
    driver.enable()
    domain = driver.create_domain()
    for page in range(PAGES):
        driver.map(domain, Iova(page << 12), Hpa((256 << 20) + (page * 7 % PAGES << 12)), 4096)
    driver.attach(DEVICE, domain)
    rules = unit.capability.rules
    context = find_context(memory, memory.read_u64(Hpa(REMAPPING_UNIT + 0x20)), DEVICE.requester_id, rules)
    assert isinstance(context, Context)
    directory, reserved = find_directory(memory, rules, context, 0), rules.leaf_reserved(1)
    assert small_page(memory, directory, 0, reserved) or SecondLevel(memory, rules).leaf(context, 0, READ)
    addresses = np.random.default_rng(1).integers(0, PAGES << 12, BATCH, np.uint64)

    def walks() -> None:
        directories = {0: directory}
        for iova in range(0, PAGES << 12, 4096):
            if not small_page(memory, directories[iova >> 21], iova, reserved) & READ:
                raise ValueError("refused")

    def requests() -> None:
        source = DEVICE.requester_id
        for iova in range(0, PAGES << 12, 4096):
            if isinstance(unit.host_address(source, iova, READ), DmaFault):
                raise ValueError("refused")

    def batch() -> None:
        SecondLevelBatch(memory, rules, context).translate(addresses, READ)

    unrolled = unrolled_limit()
    times = []
    for _ in range(rounds):
        driver.forget_everything()
        times.append([timed(work) for work in (unrolled, walks, requests, requests, batch)])
    names = ("unrolled", "DMA walk", "DMA miss", "IOTLB hit", "DMA batch")
    counts = (PAGES, PAGES, PAGES, PAGES, BATCH)
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return [(name, count / seconds) for name, count, seconds in zip(names, counts, medians, strict=True)]


def main() -> None:
    """Print every figure with its ratio to the limit."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=101, help="rounds of which the median is printed")
    chosen = options.parse_args()
    print(f"{'job':<14} {'figure':>10}   of unrolled")
    for figures in (second_stage_of_a_processor(chosen.rounds), remapping_of_devices(chosen.rounds)):
        limit = figures[0][1]
        for name, figure in figures:
            print(f"{name:<14} {figure / 1e6:>6.2f} M/s   {figure / limit:.2f}")
    c_batch = in_c(chosen.rounds)
    said = "no C compiler" if c_batch is None else f"{c_batch / 1e6:>6.2f} M/s   {c_batch / limit:.2f}"
    print(f"{'C batch':<14} {said}")


if __name__ == "__main__":
    main()
