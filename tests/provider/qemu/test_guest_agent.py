"""The configuration agent inside a real guest, over one run: changed, lied to, killed, and booted again.

It was started with a person whose signature it asks for, so that it is lied to with the controller's own key too.

Skipped, with the reason, where QEMU or mosquitto cannot run.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.contract.benches import OFFICE, qemu_bench, require_qemu
from tests.contract.story import PAGE, WITHOUT_HTTP
from vafw.clock import SystemClock
from vafw.control import topics
from vafw.control.approval import NAMESPACE
from vafw.control.broker_mosquitto import installed
from vafw.control.envelope import Version, seal
from vafw.control.proposal import Proposal
from vafw.machine.authority import Authority
from vafw.openssh.public_key import PublicKey
from vafw.openssh.signature import sign
from vafw.supervisor.control_plane import control_of
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind, Trace, TraceEvent

PATIENCE_S = 60.0
NAME, FIREWALL = "office-laptop", "firewall"
ANNA = Ed25519PrivateKey.from_private_bytes(b"anna".ljust(32))
ASKED = Authority(1, {"anna": str(PublicKey(ANNA.public_key().public_bytes_raw()))})


@dataclass
class Told:
    """What was seen."""

    outcomes: dict[str, str] = field(default_factory=dict)
    """What the page came to, by moment."""
    answers: list[Any] = field(default_factory=list)
    reports: list[TraceEvent] = field(default_factory=list)
    agents: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    require_qemu()
    if installed() is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("inside")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAFW_STATE_DIR", str(folder / "state"))
        return asyncio.run(_told(folder))


async def _told(folder: Path) -> Told:
    bench, clock, told = qemu_bench(folder, authority=ASKED), SystemClock(), Told()
    heard = asyncio.Condition()
    waiting: list[asyncio.Task[None]] = []

    async def tell() -> None:
        async with heard:
            heard.notify_all()

    trace = Trace(clock.monotonic, lambda event: waiting.append(asyncio.ensure_future(tell())))

    async def reported(outcome: str, since: int) -> TraceEvent:
        def found() -> list[TraceEvent]:
            return [
                event
                for event in tuple(trace)[since:]
                if (event.kind, event.subject) == (EventKind.CONFIG_REPORTED, FIREWALL)
                and event.detail["outcome"] == outcome
            ]

        async with asyncio.timeout(PATIENCE_S), heard:
            await heard.wait_for(found)
        return found()[0]

    platform: Any = bench.assemble((PAGE,), None)(clock, trace)[0]

    async def page(moment: str) -> None:
        answer = await platform._machines["user-os"].request("step")
        told.outcomes[moment] = answer["step"]["outcome"]

    try:
        await platform.launch()
        for vm in bench.plan.vms:
            assert (await platform.start(vm.name)).healthy
        directory = RunDirectory(bench.plan.name, folder / "run")
        async with control_of(bench.plan, OFFICE)(platform, directory, clock, trace) as plane:
            await reported("applied", 0)
            told.answers.append(await _signed(plane, "set", changes=[WITHOUT_HTTP]))
            await page("set")
            stolen = Ed25519PrivateKey.from_private_bytes((folder / "state" / NAME / "controller.key").read_bytes())
            for key in (Ed25519PrivateKey.generate(), stolen):
                before = len(trace)
                await _publish_forged(plane, bench.plan.name, clock, key)
                told.reports.append(await reported("refused", before))
                await page("forged" if key is not stolen else "stolen")
            before = len(trace)
            await platform._machines[FIREWALL].request("end-agent")
            await page("killed")
            told.reports.append(await reported("started", before))
            told.agents = (await platform._machines[FIREWALL].request("report"))["report"]["agent"]
            before = len(trace)
            os.kill(platform._machines[FIREWALL].pid, signal.SIGKILL)
            told.reports.append(await reported("started", before))
            await page("booted again")
            told.answers.append(await _signed(plane, "rollback"))
            await page("rolled back")
    finally:
        await platform.power_off()
        await asyncio.gather(*waiting)
    return told


async def _signed(plane: Any, kind: str, **details: Any) -> Any:
    """Proposed, signed by anna, and applied."""
    asked = {"verb": "propose", "appliance": FIREWALL, "kind": kind, **details}
    proposal = Proposal.of_answer(await plane.answer(asked))
    approval = proposal.signed(sign(proposal.statement.data, NAMESPACE, ANNA)).approval
    return await plane.answer({"verb": "apply", "appliance": FIREWALL, "approval": approval.to_json()})


async def _publish_forged(plane: Any, workstation: str, clock: SystemClock, key: Ed25519PrivateKey) -> None:
    """What somebody who could write to the broker as the controller could do, with or without the controller's key."""
    at = topics.Place(workstation, FIREWALL, topics.DESIRED)
    body: dict[str, Any] = {"ruleset": {"rules": []}}
    data = seal(at, Version(9, 9), body, key, now=clock.wall(), lifetime=timedelta(hours=1))
    async with plane._controller._line.connect() as bus:
        await bus.publish(topics.topic(workstation, FIREWALL, topics.DESIRED), data, retain=False)


def test_a_change_over_the_network_blocks_and_its_rollback_passes_again(told: Told) -> None:
    assert [(each["desired"]["generation"], each["in-sync"]) for each in told.answers] == [(2, True), (3, True)]
    assert [each["desired"]["signers"] for each in told.answers] == [["anna"], ["anna"]]
    assert (told.outcomes["set"], told.outcomes["rolled back"]) == ("timed out", "ok")


def test_a_foreign_signature_changes_nothing_and_is_reported_refused(told: Told) -> None:
    assert told.reports[0].detail["reason"] == "sig must be the controller's, and is not"
    assert told.outcomes["forged"] == "timed out"


def test_the_controllers_own_signature_changes_nothing_without_a_persons_and_is_reported_refused(told: Told) -> None:
    assert told.reports[1].detail["reason"] == (
        "a change to generation 9.9 of firewall must be signed by 1 of anna, and is signed by nobody"
    )
    assert told.outcomes["stolen"] == "timed out"


def test_a_killed_agent_comes_back_with_what_runs_and_nothing_forbidden_passes(told: Told) -> None:
    assert told.outcomes["killed"] == "timed out"
    assert told.reports[2].detail["running"] == {"epoch": 1, "generation": 2}
    assert told.agents["starts"] == 2


def test_a_guest_that_boots_again_has_what_it_had_and_not_what_it_began_with(told: Told) -> None:
    assert told.reports[3].detail["running"] == {"epoch": 1, "generation": 2}
    assert told.outcomes["booted again"] == "timed out"
