"""The ledger when the host fails it: a disk that is full, a process that is killed, a file that is damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.control.subjects import embedded
from tests.control.test_controller import lab_on
from vafw.clock import ManualClock
from vafw.control.entry import Entry
from vafw.control.envelope import Version
from vafw.control.ledger import Ledger
from vafw.errors import VafwError

CLOCK = ManualClock()
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from vafw.clock import SystemClock
from vafw.control import ledger as module
from vafw.control.ledger import Ledger

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Ledger.open(Path(sys.argv[1]), SystemClock()) as ledger:
        async def commit(port, seen):
            entry = await ledger.commit(
                "firewall", {"port": port}, seen=seen, basis={}, note=f"port {port}", author="root")
            return entry.version
        first = await commit(1, None)
        if sys.argv[2] == "within":
            write = module._write
            module._write = lambda file, entry: (write(file, entry), killed())
        await commit(2, first)
        killed()

asyncio.run(main())
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("needs root, and a kernel that lets it mount a tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


async def test_a_commit_on_a_full_disk_is_refused_and_everything_before_it_is_whole(small_disk: Path) -> None:
    path, ballast = small_disk / "ledger.sqlite", small_disk / "ballast"
    ballast.write_bytes(bytes(64 << 10))
    async with Ledger.open(path, CLOCK) as ledger:
        committed: list[Entry] = []
        with pytest.raises(VafwError) as refused:
            await commit_until_full(ledger, committed)
        last = committed[-1]
        assert refused.value.message == f"the ledger {path} must have room to grow: database or disk is full"
        assert await ledger.desired("firewall") == last
        ballast.unlink()
        after = await commit(ledger, 7, last)
    async with Ledger.open(path, CLOCK) as again:
        assert await again.desired("firewall") == after


async def commit_until_full(ledger: Ledger, committed: list[Entry]) -> None:
    for port in range(100):
        committed.append(await commit(ledger, port, committed[-1] if committed else None, filling="x" * 8000))


async def commit(ledger: Ledger, port: int, seen: Entry | None, filling: str = "") -> Entry:
    return await ledger.commit(
        "firewall",
        {"port": port, "filling": filling},
        seen=seen.version if seen else None,
        basis={},
        note="",
        author="root",
    )


def commit_and_be_killed(path: Path, where: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, path, where], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


async def test_a_kill_between_commit_and_publish_loses_nothing_and_the_next_controller_publishes(
    tmp_path: Path,
) -> None:
    commit_and_be_killed(tmp_path / "ledger.sqlite", "after")
    async with Ledger.open(tmp_path / "ledger.sqlite", CLOCK) as ledger:
        assert [each.version for each in await ledger.unpublished()] == [Version(1, 2)]
    async with embedded(tmp_path) as subject, lab_on(subject, tmp_path) as lab:
        report = await lab.settled(await lab.ledger.desired("firewall"))
        assert report.running == Version(1, 2)
        assert lab.applier.applied == [{"port": 2}]


async def test_a_kill_within_a_commit_leaves_the_generation_before(tmp_path: Path) -> None:
    commit_and_be_killed(tmp_path / "ledger.sqlite", "within")
    async with Ledger.open(tmp_path / "ledger.sqlite", CLOCK) as ledger:
        entry = await ledger.desired("firewall")
        assert (entry.version, entry.body) == (Version(1, 1), {"port": 1})
        assert len(await ledger.history("firewall")) == 1
