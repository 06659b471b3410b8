"""Time to ready, frames/s through the chain and translations/s, each beside a limit measured in the same run.

    .venv/bin/python benchmarks/up.py [--frames N] [--rounds N]

Every figure is the median of interleaved rounds; quote the ratios, never a single time.

    ready         process start of `vafw up` to the user OS being healthy   | limit: importing what it imports
    chain         frames/s through NIC, VT-d, firewall, dns and user OS     | limit: the same frames through the
                                                                             | firewall's program alone, no machine
    walk          second-stage walks by the remapping unit, IOTLB flushed   | limit: a walk unrolled by hand over
    IOTLB hit     the same address again                                    |   one memoryview, rights checked
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vafw.address import Bdf, Hpa, Iova
from vafw.cli.model_platform import load_plan
from vafw.clock import SystemClock
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pc import REMAPPING_UNIT, REMAPPING_UNIT_SIZE
from vafw.hw.vtd import RemappingUnit
from vafw.hw.vtd.table_walk import READ
from vafw.provider.model import image
from vafw.provider.model.provider import ModelProvider
from vafw.provider.model.traffic import Traffic
from vafw.provider.model.wire import CaptureReplay, Side
from vafw.trace import Trace
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.remapping import RemappingDriver

ROOT = Path(__file__).parent.parent
TOPOLOGY = ROOT / "policies" / "office-laptop" / "topology.yaml"
CAPTURE = ROOT / "tests" / "captures" / "office-10k.pcap.gz"
DEVICE = Bdf(2, 0, 0)
PAGES = 512


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each, run in turn."""
    times = [[timed(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def ready(rounds: int) -> tuple[float, float]:
    """Seconds of a whole `vafw up` with no traffic, and of a process that only imports what it needs."""
    with tempfile.TemporaryDirectory() as runs:
        environment = {"VAFW_RUN_DIR": runs, "PATH": "/usr/bin:/bin"}
        up = [sys.executable, "-m", "vafw", "up", str(TOPOLOGY), "--until-idle", "--json"]
        imports = [sys.executable, "-c", "import vafw.cli.up, vafw.cli.model_platform"]
        whole, alone = interleaved(
            rounds,
            lambda: subprocess.run(up, env=environment, check=True, capture_output=True),
            lambda: subprocess.run(imports, env=environment, check=True, capture_output=True),
        )
    return whole, alone


def chain(limit: int, rounds: int) -> tuple[int, float, float]:
    """Frames, seconds through the whole machine, and through the firewall's program alone."""
    plan = load_plan(TOPOLOGY)
    frames = [each for each, _ in zip(CaptureReplay(CAPTURE, plan.wire.mac or ""), range(limit), strict=False)]

    def through_the_machine() -> None:
        asyncio.run(_carry(limit))

    def through_the_firewall() -> None:
        folder = plan.vm("firewall").image.folder
        program = image.program(image.load(folder)).create(plan.vm("firewall").config)
        for each in frames:
            program.handle(OUTSIDE if each.side is Side.WIRE else INSIDE, each.frame, each.time_s)

    idle = statistics.median(timed(lambda: asyncio.run(_start())) for _ in range(rounds))
    machine, firewall = interleaved(rounds, through_the_machine, through_the_firewall)
    return len(frames), machine - idle, firewall


async def _start() -> ModelProvider:
    clock = SystemClock()
    plan = load_plan(TOPOLOGY)
    traffic = Traffic.choose(capture=CAPTURE)
    provider = ModelProvider(plan, traffic, clock=clock, trace=Trace(clock.monotonic), random=bytes)
    await provider.launch()
    for vm in plan.vms:
        await provider.start(vm.name)
    return provider


async def _carry(limit: int) -> None:
    provider = await _start()
    await provider.carry()
    await provider.power_off()


def translations(rounds: int) -> tuple[float, float, float]:
    """Seconds for `PAGES` walks, `PAGES` IOTLB hits, and `PAGES` walks unrolled by hand."""
    memory = PhysicalMemory(1 << 30)
    unit = RemappingUnit(memory)
    memory.map_window(REMAPPING_UNIT, REMAPPING_UNIT_SIZE, unit)
    driver = RemappingDriver(memory, FrameAllocator(Hpa(1 << 20), 64 << 20), REMAPPING_UNIT)
    driver.enable()
    domain = driver.create_domain()
    for page in range(PAGES):
        driver.map(domain, Iova(page << 12), Hpa((256 << 20) + (page << 12)), 4096)
    driver.attach(DEVICE, domain)

    def walk() -> None:
        for page in range(PAGES):
            unit.host_address(DEVICE.requester_id, page << 12, READ)

    flat = memoryview(bytearray(5 * 4096)).cast("Q")
    for level in range(3):
        flat[level * 512] = (level + 1) << 12 | 3
    for index in range(512):
        flat[3 * 512 + index] = 4 << 12 | 3

    def unrolled() -> None:
        for page in range(PAGES):
            top = flat[page >> 27 & 511]
            upper = flat[(top >> 12 << 9) + (page >> 18 & 511)]
            lower = flat[(upper >> 12 << 9) + (page >> 9 & 511)]
            leaf = flat[(lower >> 12 << 9) + (page & 511)]
            if not top & upper & lower & leaf & 1:
                raise ValueError("page without the right to be read")

    walks, hits, limits = [], [], []
    for _ in range(rounds):
        driver.detach(DEVICE)  # empties context cache and IOTLB
        driver.attach(DEVICE, domain)
        walks.append(timed(walk))
        hits.append(timed(walk))
        limits.append(timed(unrolled))
    return statistics.median(walks), statistics.median(hits), statistics.median(limits)


def main() -> None:
    """Print every figure with its limit."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--frames", type=int, default=10_000, help="frames of the capture to carry")
    options.add_argument("--rounds", type=int, default=5, help="rounds of which the median is printed")
    chosen = options.parse_args()
    print(f"{'job':<10} {'figure':>16} {'limit':>22}   ratio")
    whole, imports = ready(chosen.rounds)
    print(f"{'ready':<10} {whole * 1000:>13.0f} ms {imports * 1000:>12.0f} ms imports   {imports / whole:.2f}")
    frames, machine, firewall = chain(chosen.frames, chosen.rounds)
    figure, alone = frames / machine, frames / firewall
    print(f"{'chain':<10} {figure:>9.0f} frames/s {alone:>9.0f} frames/s alone   {figure / alone:.2f}")
    walk, hit, unrolled = (PAGES / seconds for seconds in translations(chosen.rounds))
    print(f"{'walk':<10} {walk / 1e3:>14.0f} k/s {unrolled / 1e3:>13.0f} k/s unrolled   {walk / unrolled:.2f}")
    print(f"{'IOTLB hit':<10} {hit / 1e3:>14.0f} k/s {walk / 1e3:>13.0f} k/s walks   {hit / walk:.2f}")


if __name__ == "__main__":
    main()
