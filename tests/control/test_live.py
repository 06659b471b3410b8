"""The shipped example, up on the modelled PC: a flow is blocked and let through again while its frames arrive.

Every frame that goes in is accounted for: it left on the other side or was dropped by a rule, and what became of the
flow changed exactly when the configuration did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.supervisor.machines import copy_office
from vafw.cli.model_platform import assembly, load_plan
from vafw.control.envelope import Version
from vafw.provider.model.traffic import Traffic
from vafw.supervisor.control_plane import control_of
from vafw.supervisor.requests import ask
from vafw.supervisor.run import RunOptions, run
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind, Trace
from vafw.traffic.pcap import CapturedFrame, read_capture, writing_capture

FRAMES = 16_000
USER_MAC = "52:54:00:aa:00:01"


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_office(tmp_path_factory.mktemp("office") / "office-laptop")


def number_of(frame: bytes) -> int:
    """The frame's number, which is its payload."""
    return int.from_bytes(frame[-4:], "big")


def write_one_flow(path: Path) -> None:
    """A flow of QUIC packets from the user to the internet, each with its number."""
    head = Ether(src=USER_MAC, dst="52:54:00:00:00:fe") / IP(src="10.0.0.2", dst="198.51.100.10")
    template = bytes(head / UDP(sport=40_000, dport=443, chksum=0) / bytes(4))
    with writing_capture(path) as capture:
        for number in range(FRAMES):
            capture.write(CapturedFrame(number * 100_000, template[:-4] + number.to_bytes(4, "big")))


async def run_with(
    topology: Path, traffic: Traffic, runs: Path, work: Callable[[RunDirectory], Any], *, until_idle: bool = True
) -> tuple[Any, Trace]:
    """Bring it up with a control plane and do `work` in another thread meanwhile."""
    plan = load_plan(topology)
    directory = RunDirectory(plan.name, runs)
    up = asyncio.Event()
    running = asyncio.create_task(
        run(
            plan,
            assembly(plan, traffic),
            RunOptions(until_idle=until_idle),
            directory=directory,
            ready=lambda _: up.set(),
            control=control_of(plan, topology),
        )
    )
    await asyncio.wait((running, asyncio.ensure_future(up.wait())), return_when=asyncio.FIRST_COMPLETED)
    done = await asyncio.to_thread(work, directory)
    _, trace = await running
    return done, trace


async def test_a_flow_is_blocked_and_passes_again_and_no_frame_is_treated_by_neither_version(
    topology: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAFW_STATE_DIR", str(tmp_path / "state"))
    capture, results = tmp_path / "flow.pcap", tmp_path / "results.pcapng"
    write_one_flow(capture)

    def block_and_let_through(directory: RunDirectory) -> list[Any]:
        change = "traffic.rules[web].service=[http, https]"
        blocked = ask(directory, "config", verb="set", appliance="firewall", changes=[change])
        passing = ask(directory, "config", verb="rollback", appliance="firewall")
        return [blocked, passing]

    traffic = Traffic.choose(capture=capture, results=results)
    states, trace = await run_with(topology, traffic, tmp_path / "run", block_and_let_through)
    assert [(each["desired"]["generation"], each["in-sync"]) for each in states] == [(2, True), (3, True)]

    fates = {number_of(each.data): (each.interface, each.comment) for each in read_capture(results)}
    assert sorted(fates) == list(range(FRAMES))
    history = [fate for fate, _ in groupby(fates[number] for number in range(FRAMES))]
    assert history == [("wire", ""), ("dropped", "firewall: (default)"), ("wire", "")]
    reported = [event for event in trace.of(EventKind.CONFIG_REPORTED) if event.subject == "firewall"]
    assert [each.detail["running"] for each in reported][-1] == Version(1, 3).to_json()
