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
from vafw.supervisor.requests import Answered, ask
from vafw.supervisor.run import RunOptions, run
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind, Trace, Value
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


async def test_a_change_that_nobody_confirms_goes_back_under_traffic_and_a_confirmed_one_stays(
    topology: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAFW_STATE_DIR", str(tmp_path / "state"))
    capture, results = tmp_path / "flow.pcap", tmp_path / "results.pcapng"
    write_one_flow(capture)
    change = "traffic.rules[web].service=[http, https]"

    def config(directory: RunDirectory, verb: str, **details: Any) -> Any:
        return ask(directory, "config", verb=verb, appliance="firewall", **details)

    def try_twice(directory: RunDirectory) -> Any:
        tried = config(directory, "set", changes=[change], **{"within-s": 1.5})
        assert tried["reported"]["outcome"] == "on-trial"
        with pytest.raises(Answered, match=r"generation 1\.2 is on trial"):
            config(directory, "set", changes=[change])
        while (state := config(directory, "get"))["desired"]["generation"] == 2 or not state["in-sync"]:
            pass
        with pytest.raises(Answered, match="must have a change on trial to confirm, and has none"):
            config(directory, "confirm")
        config(directory, "set", changes=[change], **{"within-s": 60})
        return config(directory, "confirm"), config(directory, "history")

    traffic = Traffic.choose(capture=capture, results=results)
    (kept, history), _ = await run_with(topology, traffic, tmp_path / "run", try_twice)
    assert (kept["desired"]["trial"]["state"], kept["reported"]["outcome"]) == ("confirmed", "confirmed")
    assert [each["trial"] and (each["trial"]["state"], each["trial"]["reason"]) for each in history] == [
        ("confirmed", ""),
        None,
        ("went back", "no confirmation came within 1.5 s"),
        None,
    ]
    fates = {number_of(each.data): (each.interface, each.comment) for each in read_capture(results)}
    passed_by = [fate for fate, _ in groupby(fates[number] for number in range(FRAMES))]
    assert passed_by[:3] == [("wire", ""), ("dropped", "firewall: (default)"), ("wire", "")]


async def test_a_run_that_ends_during_a_trial_begins_again_with_what_was_confirmed(
    topology: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAFW_STATE_DIR", str(tmp_path / "state"))
    change: list[Value] = ["traffic.rules[web].service=[http, https]"]

    def leave_on_trial(directory: RunDirectory) -> Any:
        state = ask(directory, "config", verb="set", appliance="firewall", changes=change, **{"within-s": 3600})
        ask(directory, "down")
        return state

    def look(directory: RunDirectory) -> Any:
        state = ask(directory, "config", verb="get", appliance="firewall")
        ask(directory, "down")
        return state

    quiet = Traffic.choose()
    tried, _ = await run_with(topology, quiet, tmp_path / "run", leave_on_trial, until_idle=False)
    state, _ = await run_with(topology, quiet, tmp_path / "run", look, until_idle=False)
    assert tried["desired"]["generation"] == 2
    assert (state["desired"]["generation"], state["in-sync"]) == (3, True)
    assert state["desired"]["note"] == "1.2 went back to 1.1: the run ended before it was confirmed"
