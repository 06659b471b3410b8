"""Three real VMs, and what must hold while they run: a configuration that is refused, a killed VM, a killed TPM.

One run for all cases, as each start takes its time; skipped, with the reason, where QEMU cannot run.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.benches import qemu_bench, require_qemu
from tests.contract.story import GET
from vafw.clock import SystemClock
from vafw.errors import PlatformUnable
from vafw.machine.report import Health
from vafw.trace import EventKind, Trace, TraceEvent, Value

PAGE: dict[str, Value] = {"connect": "198.51.100.10", "port": 80, "send": GET, "expect": "200 OK"}
PATIENCE_S = 60.0


@dataclass
class Live:
    """What was seen."""

    outcomes: dict[str, str] = field(default_factory=dict)
    """What the page came to, by moment."""
    health: dict[str, Health] = field(default_factory=dict)
    after_kill: list[TraceEvent] = field(default_factory=list)
    seen_after_s: float = 0.0
    tpm_seen_after_s: float = 0.0
    tpm_said: str = ""
    evidence: str = ""
    left_behind: list[Path] = field(default_factory=list)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    require_qemu()
    return asyncio.run(_lived(tmp_path_factory.mktemp("live")))


async def _lived(state: Path) -> Live:
    bench, clock, live = qemu_bench(state), SystemClock(), Live()
    heard = asyncio.Condition()
    waiting: list[asyncio.Task[None]] = []

    async def tell() -> None:
        async with heard:
            heard.notify_all()

    trace = Trace(clock.monotonic, lambda event: waiting.append(asyncio.ensure_future(tell())))

    async def until(kind: EventKind, since: int) -> TraceEvent:
        async with asyncio.timeout(PATIENCE_S), heard:
            await heard.wait_for(lambda: any(event.kind is kind for event in tuple(trace)[since:]))
        return next(event for event in tuple(trace)[since:] if event.kind is kind)

    platform: Any = bench.assemble((PAGE,), None)(clock, trace)[0]

    async def page(moment: str) -> None:
        answer = await platform._machines["user-os"].request("step")
        live.outcomes[moment] = answer["step"]["outcome"]

    try:
        await platform.launch()
        for vm in bench.plan.vms:
            live.health[vm.name] = await platform.start(vm.name)
        await page("at first")
        live.health["nonsense"] = await platform.configure("firewall", {"ruleset": {"rules": 7}})
        await page("after nonsense")
        before, killed_s = len(trace), clock.monotonic()
        os.kill(platform._machines["firewall"].pid, signal.SIGKILL)
        live.seen_after_s = (await until(EventKind.VM_FAILED, before)).time_s - killed_s
        await page("killed")
        await until(EventKind.VM_HEALTHY, before)
        live.after_kill = list(trace)[before:]
        await page("started again")
        losing = asyncio.create_task(platform.evidence_lost())
        await asyncio.sleep(0)
        before, killed_s = len(trace), clock.monotonic()
        os.kill(platform._tpm.pid, signal.SIGKILL)
        live.tpm_seen_after_s = (await until(EventKind.TPM_LOST, before)).time_s - killed_s
        live.tpm_said = await losing
        with pytest.raises(PlatformUnable) as refusal:
            await platform.evidence(secrets.token_bytes(32))
        live.evidence = refusal.value.message
    finally:
        folder = platform._run.places.folder
        await platform.power_off()
        await asyncio.gather(*waiting)
    live.left_behind = [folder] if folder.exists() else []
    return live


def test_a_configuration_that_cannot_be_read_leaves_the_old_one_in_force_refused(live: Live) -> None:
    assert live.health["nonsense"].healthy is False
    assert live.health["nonsense"].reason.startswith("the ruleset cannot be read: ")
    assert (live.outcomes["at first"], live.outcomes["after nonsense"]) == ("ok", "ok")


def test_a_killed_vm_is_seen_at_once_and_nothing_passes_in_its_place(live: Live) -> None:
    assert live.seen_after_s < 2.0
    assert live.outcomes["killed"] == "timed out"


def test_a_killed_vm_has_its_links_down_and_is_started_again(live: Live) -> None:
    seen = [(event.kind, event.subject) for event in live.after_kill if event.kind is not EventKind.GUEST_LOG]
    assert seen == [
        (EventKind.LINK_DOWN, "firewall-dns"),
        (EventKind.VM_FAILED, "firewall"),
        (EventKind.VM_STARTED, "firewall"),
        (EventKind.LINK_UP, "firewall-dns"),
        (EventKind.VM_HEALTHY, "firewall"),
    ]
    assert "signal 9" in str(live.after_kill[1].detail["reason"])
    assert live.outcomes["started again"] == "ok"


def test_a_killed_tpm_is_seen_at_once_and_gives_no_evidence_any_more_refused(live: Live) -> None:
    assert live.tpm_seen_after_s < 1.0
    assert live.tpm_said == live.evidence == "the TPM is lost: swtpm ended (signal 9)"


def test_nothing_is_left_behind(live: Live) -> None:
    assert live.left_behind == []
