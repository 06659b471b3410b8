"""Kill -9 in turn of the supervisor, the broker and an agent, as real processes and real connections.

On the model platform the agents live in the supervisor's process: killing one is killing its task, with its connection.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.cli.running import running
from tests.conftest import Vafw
from tests.control.test_live import USER_MAC, number_of, run_with
from tests.supervisor.machines import copy_office
from vafw.clock import SystemClock
from vafw.control.broker_mosquitto import MosquittoBroker, clear_orphan, command, installed
from vafw.errors import ExitCode
from vafw.provider.model.traffic import Traffic
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind
from vafw.traffic.pcap import CapturedFrame, read_capture, writing_capture

needs_mosquitto = pytest.mark.skipif(installed() is None, reason="mosquitto is not installed on this host")
PATIENCE_S = 30
FRAMES = 6_000
CONFIG = ("config", "get", "office-laptop", "firewall")


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_office(tmp_path_factory.mktemp("office") / "office-laptop")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAFW_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def broker_of(runs: Path) -> int:
    return int((runs / "office-laptop" / "broker" / "pid").read_text())


def until(holds: Callable[[], bool]) -> None:
    """Ask again until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not hold in time"


def is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def generation(vafw: Vafw) -> str:
    return vafw(*CONFIG).out.splitlines()[0]


@needs_mosquitto
def test_a_killed_supervisor_takes_its_broker_along_and_the_next_up_has_everything_that_was_committed(
    topology: Path, runs: Path, vafw: Vafw
) -> None:
    with running(topology, runs) as first:
        assert vafw("config", "set", "office-laptop", "firewall", "traffic.rules[web].log=true").code == 0
        broker = broker_of(runs)
        first.process.kill()
        first.process.wait()
    until(lambda: is_gone(broker))
    ended = vafw("status", "office-laptop")
    assert ended.code == ExitCode.NOT_RUNNING
    assert "its process ended without stopping it" in " ".join(ended.out.split())
    with running(topology, runs) as second:
        said = "".join(second.said)
        assert f"an earlier run, pid {first.process.pid}, was killed; what it left was cleared" in said
        assert generation(vafw) == "firewall: generation 2, in sync"
        assert vafw("down", "office-laptop").code == 0


@needs_mosquitto
def test_a_killed_broker_is_started_again_and_configuration_goes_on(topology: Path, runs: Path, vafw: Vafw) -> None:
    with running(topology, runs):
        for value in ("true", "false"):
            killed = broker_of(runs)
            os.kill(killed, signal.SIGKILL)
            done = vafw("config", "set", "office-laptop", "firewall", f"traffic.rules[web].log={value}")
            assert done.code == 0, done.err
            assert broker_of(runs) != killed
        assert generation(vafw) == "firewall: generation 3, in sync"
        assert vafw("down", "office-laptop").code == 0
    kinds = [each["kind"] for each in RunDirectory("office-laptop", runs).events()]
    assert kinds.count(EventKind.CONTROL_LOST) == kinds.count(EventKind.CONTROL_BACK) == 2


@needs_mosquitto
async def test_a_broker_that_outlived_its_run_is_ended_before_another_is_started(tmp_path: Path) -> None:
    folder, told = tmp_path / "broker", list[tuple[EventKind, str]]()
    async with MosquittoBroker.run("lab", folder, SystemClock()):
        pass  # it leaves a configuration that works
    program = installed()
    assert program is not None
    argv = command(program, folder / "mosquitto.conf", None)
    orphan = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
    (folder / "pid").write_text(str(orphan.pid))
    async with MosquittoBroker.run("lab", folder, SystemClock(), lambda *each: told.append(each)):
        assert await orphan.wait() == -signal.SIGKILL
    assert told == [(EventKind.RUN_CLEARED, f"the broker of an earlier run, process {orphan.pid}, was ended")]


def test_a_process_that_only_has_the_noted_pid_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    assert clear_orphan(tmp_path) is None
    (tmp_path / "pid").write_text("no number")
    assert clear_orphan(tmp_path) is None


def write_both_flows(path: Path) -> None:
    """By turns a QUIC packet to the internet, which rule `web` passes, and one to the office's own network."""
    with writing_capture(path) as capture:
        for number in range(FRAMES):
            target = "192.168.7.7" if number % 2 else "198.51.100.10"
            head = Ether(src=USER_MAC, dst="52:54:00:00:00:fe") / IP(src="10.0.0.2", dst=target)
            frame = bytes(head / UDP(sport=40_000, dport=443, chksum=0) / number.to_bytes(4, "big"))
            capture.write(CapturedFrame(number * 100_000, frame))


@needs_mosquitto
async def test_nothing_forbidden_passes_and_nothing_committed_is_lost_while_broker_and_agents_are_killed(
    topology: Path, runs: Path, tmp_path: Path
) -> None:
    capture, results = tmp_path / "flows.pcap", tmp_path / "results.pcapng"
    write_both_flows(capture)
    loop = asyncio.get_running_loop()

    def kill_agent() -> None:
        for task in asyncio.all_tasks(loop):
            if task.get_name() == "vafw[firewall].control":
                task.cancel()

    def kill_in_turn(directory: RunDirectory) -> list[Any]:
        states = []
        for value in ("true", "false", "true"):
            os.kill(broker_of(runs), signal.SIGKILL)
            loop.call_soon_threadsafe(kill_agent)
            change = f"traffic.rules[web].log={value}"
            states.append(ask(directory, "config", verb="set", appliance="firewall", changes=[change]))
        ask(directory, "down")
        return states

    traffic = Traffic.choose(capture=capture, results=results)
    states, trace = await run_with(topology, traffic, runs, kill_in_turn, until_idle=False)
    assert [(each["desired"]["generation"], each["in-sync"]) for each in states] == [(2, True), (3, True), (4, True)]
    lost = [event.subject for event in trace.of(EventKind.CONTROL_LOST)]
    assert {"broker", "firewall"} <= set(lost)
    fates = {number_of(each.data): each.interface for each in read_capture(results)}
    assert {number for number, interface in fates.items() if number % 2 and interface == "wire"} == set()
    assert {interface for number, interface in fates.items() if not number % 2} == {"wire"}
