"""Translations of the modelled PC, each beside a limit measured in the same run.

    .venv/bin/python benchmarks/model.py [--rounds N]

Every figure is the median of interleaved rounds; quote the ratios, never a single time. The limit is a 4-level walk
unrolled by hand over one `memoryview.cast("Q")`, inlined in its loop, with the rights of all levels checked.

    EPT walk       four levels, every check of the model, no cache            goal: 1.0 of unrolled
    EPT miss       the same with the processor's paging-structure cache
    EPT hit        the translation cache
    EPT batch      NumPy, tables flattened anew                               goal: 12 of unrolled
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from vafw.address import Gpa, Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vmx.ept import AccessKind, EptCapability, Translation, walk
from vafw.hw.vmx.ept_batch import flatten
from vafw.hw.vmx.quick_walk import Demand, StructureCache, quick_walk
from vafw.hw.vmx.translation import Mappings
from vafw.vmm.ept_tables import EptTables
from vafw.vmm.frames import FrameAllocator

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


def unrolled_limit() -> Callable[[], None]:
    """`PAGES` walks as fast as Python makes them: no function, no reserved bits, no large pages, no sparse memory."""
    flat = memoryview(bytearray(5 * 4096)).cast("Q")
    for level in range(3):
        flat[level * 512] = (level + 1) << 12 | 7
    for index in range(512):
        flat[3 * 512 + index] = 4 << 12 | 7

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
    mappings = Mappings()
    for page in range(PAGES):
        mappings.read_4k[page] = 256 << 20
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
        known = mappings.read_4k
        for gpa in range(0, PAGES << 12, 4096):
            if known.get(gpa >> 12) is None:
                raise ValueError("refused")

    def batch() -> None:
        flatten(memory, eptp, capability).translate(addresses, 1)

    limit, *ours = interleaved(rounds, unrolled_limit(), walks, misses, hits, batch)
    names = ("EPT walk", "EPT miss", "EPT hit", "EPT batch")
    counts = (PAGES, PAGES, PAGES, BATCH)
    figures = [(name, count / seconds) for name, count, seconds in zip(names, counts, ours, strict=True)]
    return [("unrolled", PAGES / limit), *figures]


def main() -> None:
    """Print every figure with its ratio to the limit."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=101, help="rounds of which the median is printed")
    chosen = options.parse_args()
    print(f"{'job':<14} {'figure':>10}   of unrolled")
    figures = second_stage_of_a_processor(chosen.rounds)
    limit = figures[0][1]
    for name, figure in figures:
        print(f"{name:<14} {figure / 1e6:>6.2f} M/s   {figure / limit:.2f}")


if __name__ == "__main__":
    main()
