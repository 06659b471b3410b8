"""One run on one platform, told to its end, for the cases to look at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.contract.benches import OFFICE, Bench
from vafw.clock import SystemClock
from vafw.errors import GateClosed
from vafw.machine.report import IsolationCheck, PlatformReport
from vafw.supervisor.control_plane import control_of
from vafw.supervisor.run_directory import RunDirectory
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import EventKind, Trace, TraceEvent, Value

GET: Final = "GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n"
SCRIPT: Final[tuple[Value, ...]] = (
    {"ping": "10.0.0.1"},
    {"resolve": "www.example.com"},
    {"connect": "www.example.com", "port": 80, "send": GET, "expect": "200 OK"},
    {"resolve": "ads.example.net"},
    {"resolve": "nowhere.example.com"},
    {"connect": "six.example.com", "port": 80, "send": GET, "expect": "200 OK"},
    {"connect": "192.168.1.10", "port": 80},
    {"connect": "198.51.100.10", "port": 22},
)
"""What the user does, on every platform."""
PAGE: Final[Value] = {"connect": "198.51.100.10", "port": 80, "send": GET, "expect": "200 OK"}
WITHOUT_HTTP: Final = "traffic.rules[web].service=[https, quic]"
CUT_SCRIPT: Final[tuple[Value, ...]] = ({"ping": "10.0.0.1"},)
"""What the user tries when the firewall was taken away."""


@dataclass(frozen=True)
class Story:
    """What happened, from launch to power-off."""

    events: tuple[TraceEvent, ...]
    report: PlatformReport
    """After the script, everything still running."""
    last: PlatformReport
    """After power-off."""
    isolation: tuple[IsolationCheck, ...] = ()
    picture: bytes = b""
    refused: str = ""
    """Why the gate stayed closed."""

    def subjects(self, *kinds: EventKind) -> list[str]:
        """Whom events of these kinds happened to, in order."""
        return [event.subject for event in self.events if event.kind in kinds]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What came of each step of the script."""
        return list(self.report.vms[-1].appliance["steps"])  # type: ignore[arg-type]  # plain JSON

    @property
    def outcomes(self) -> list[str]:
        """In one word each."""
        return [step["outcome"] for step in self.steps]


def play(bench: Bench, script: tuple[Value, ...] = SCRIPT, *, tamper: str | None = None, without: str = "") -> Story:
    """Bring the example up, let the user act, with one VM taken away before that if asked, and switch off."""
    return asyncio.run(_played(bench, script, tamper, without))


async def _played(bench: Bench, script: tuple[Value, ...], tamper: str | None, without: str) -> Story:
    clock = SystemClock()
    trace = Trace(clock.monotonic)
    platform, appraiser = bench.assemble(script, tamper)(clock, trace)
    supervisor = Supervisor(bench.plan, platform, appraiser, clock=clock, trace=trace)
    refused, picture, report = "", b"", platform.report()
    try:
        await supervisor.start()
        for vm in [without] if without else []:
            await platform.stop(vm)
        await platform.carry()
        report, picture = platform.report(), platform.display()
    except GateClosed as closed:
        refused = closed.message
    finally:
        await supervisor.stop()
    isolation = supervisor.snapshot().isolation
    return Story(tuple(trace), report, platform.report(), isolation, picture, refused)


async def reconfigured(bench: Bench, state: Path) -> tuple[list[str], list[Any]]:
    """What a page came to before a change over the network, after it, and after its rollback; what was answered."""
    clock = SystemClock()
    trace = Trace(clock.monotonic)
    platform, appraiser = bench.assemble((PAGE,), None)(clock, trace)
    supervisor = Supervisor(bench.plan, platform, appraiser, clock=clock, trace=trace)
    user_os = bench.plan.vms[-1]
    outcomes: list[str] = []

    async def fetch() -> None:
        assert (await platform.configure(user_os.name, user_os.config)).healthy  # so that the script begins anew
        await platform.carry()
        steps: Any = platform.report().vms[-1].appliance["steps"]
        outcomes.append(steps[-1]["outcome"])

    try:
        await supervisor.start()
        directory = RunDirectory(bench.plan.name, state / "run")
        async with control_of(bench.plan, OFFICE)(platform, directory, clock, trace) as plane:
            await fetch()
            answers = [await plane.answer({"verb": "set", "appliance": "firewall", "changes": [WITHOUT_HTTP]})]
            await fetch()
            answers.append(await plane.answer({"verb": "rollback", "appliance": "firewall"}))
            await fetch()
    finally:
        await supervisor.stop()
    return outcomes, answers
