"""Controller and agents over real brokers: whatever happens to a broker or an agent, all end at what is committed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from tests.control.parts import AGENT_KEY, CONTROLLER_KEY, MemoryApplier, agent_on
from tests.control.subjects import LAB, Embedded, Mosquitto, Subject, embedded, mosquitto
from vafw.clock import ManualClock, SystemClock
from vafw.control.agent import Agent, Outcome, Report
from vafw.control.broker_mosquitto import MosquittoBroker, installed
from vafw.control.controller import Controller
from vafw.control.entry import Entry
from vafw.control.envelope import Version
from vafw.control.ledger import Ledger
from vafw.control.topics import AVAIL, CONTROLLER, DESIRED, topic
from vafw.errors import NoSuchObject

PATIENCE_S = 30
needs_mosquitto = pytest.mark.skipif(installed() is None, reason="mosquitto is not installed on this host")


@dataclass
class Lab:
    """A controller and an agent on one broker."""

    subject: Subject
    ledger: Ledger
    controller: Controller
    applier: MemoryApplier
    tasks: asyncio.TaskGroup
    agents: list[Agent] = field(default_factory=list)
    serving: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def agent(self) -> Agent:
        return self.agents[-1]

    def start_agent(self) -> None:
        self.agents.append(agent_on(self.subject.line("firewall"), self.applier, SystemClock()))
        self.serving.append(self.tasks.create_task(self.agent.run()))

    async def push(self, port: int, **more: bool) -> Entry:
        seen = (await self.ledger.history("firewall"))[:1]
        return await self.controller.push("firewall", {"port": port, **more}, seen=seen[0].version if seen else None)

    async def settled(self, entry: Entry) -> Report:
        async with asyncio.timeout(PATIENCE_S):
            return await self.controller.settled("firewall", entry.version)


@asynccontextmanager
async def lab_on(subject: Subject, folder: Path) -> AsyncIterator[Lab]:
    async with Ledger.open(folder / "ledger.sqlite", SystemClock()) as ledger, asyncio.TaskGroup() as tasks:
        await ledger.enrol("firewall", AGENT_KEY.public_key())
        controller = Controller(LAB, ledger, subject.line(CONTROLLER), CONTROLLER_KEY, SystemClock())
        lab = Lab(subject, ledger, controller, MemoryApplier(), tasks)
        lab.serving.append(tasks.create_task(controller.run()))
        lab.start_agent()
        yield lab
        for each in lab.serving:
            each.cancel()


@pytest_asyncio.fixture(params=[pytest.param(mosquitto, marks=needs_mosquitto), embedded])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        subject = await stack.enter_async_context(request.param(tmp_path))
        yield await stack.enter_async_context(lab_on(subject, tmp_path))


@pytest_asyncio.fixture
async def on_mosquitto(tmp_path: Path) -> AsyncIterator[Lab]:
    async with mosquitto(tmp_path) as subject, lab_on(subject, tmp_path) as lab:
        yield lab


def broker(lab: Lab) -> MosquittoBroker:
    return cast("Mosquitto", lab.subject).broker


async def test_what_is_pushed_is_applied_and_reported(lab: Lab) -> None:
    entry = await lab.push(1)
    said = Report(Outcome.APPLIED, "the probe passed", Version(1, 1), Version(1, 1), entry.digest)
    assert await lab.settled(entry) == said
    assert lab.applier.applied == [{"port": 1}]
    reported = await lab.ledger.reported("firewall")
    assert reported is not None
    assert reported["outcome"] == "applied"


async def test_rolling_back_is_a_new_generation_with_the_old_body(lab: Lab) -> None:
    for port in (1, 2):
        await lab.settled(await lab.push(port))
    back = await lab.controller.rollback("firewall")
    assert (back.version, back.body, back.note) == (Version(1, 3), {"port": 1}, "back to 1.1: ")
    assert (await lab.settled(back)).running == Version(1, 3)
    assert lab.applier.applied == [{"port": 1}, {"port": 2}, {"port": 1}]


async def test_rolling_back_to_what_there_is_not_is_refused(lab: Lab) -> None:
    await lab.push(1)
    with pytest.raises(NoSuchObject) as refusal:
        await lab.controller.rollback("firewall", to=Version(1, 9))
    assert refusal.value.message == "firewall must have generation 1.9 to go back to; before 1.1 it has none"


async def test_a_sick_change_goes_back_and_the_controller_hears_why(lab: Lab) -> None:
    first = await lab.push(1)
    await lab.settled(first)
    report = await lab.settled(await lab.push(2, sick=True))
    assert report == Report(Outcome.WENT_BACK, "the probe failed", Version(1, 2), Version(1, 1), first.digest)


async def test_an_agent_that_died_is_followed_by_one_that_takes_what_is_committed(lab: Lab) -> None:
    await lab.settled(await lab.push(1))
    lab.serving[-1].cancel()
    entry = await lab.push(2)
    lab.start_agent()
    assert (await lab.settled(entry)).running == Version(1, 2)


async def test_a_forged_configuration_is_refused_and_what_runs_stays(lab: Lab) -> None:
    entry = await lab.push(1)
    await lab.settled(entry)
    lab.serving[0].cancel()
    async with lab.subject.line(CONTROLLER).connect() as bus:
        await bus.publish(topic(LAB, "firewall", DESIRED), b'{"v": "1.0"}', retain=True)
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: lab.agent.last.outcome is Outcome.REFUSED)
    reason = "an envelope must have the key ws"
    assert lab.agent.last == Report(Outcome.REFUSED, reason, None, Version(1, 1), entry.digest)


async def test_the_will_of_an_earlier_connection_is_stale(lab: Lab) -> None:
    await lab.settled(await lab.push(1))
    lab.serving[-1].cancel()
    avail = topic(LAB, "firewall", AVAIL)
    async with lab.subject.line("firewall").connect() as bus:
        await bus.publish(avail, b'{"state": "online", "session": "new"}', retain=True)
        await bus.publish(avail, b'{"state": "lost", "session": "old"}', retain=True)
        await bus.publish(avail, b"not JSON", retain=True)
        await bus.publish(avail, b'{"state": "online", "session": "new"}', retain=True)
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: lab.controller.present("firewall"))


async def until(holds: Callable[[], bool]) -> None:
    """Return once something holds; the caller says how long to wait."""
    while not holds():  # noqa: ASYNC110 - what is awaited is seen from outside only
        await asyncio.sleep(0.005)


@needs_mosquitto
async def test_a_killed_broker_is_started_again_and_everything_converges(on_mosquitto: Lab) -> None:
    lab = on_mosquitto
    await lab.settled(await lab.push(1))
    os.kill(broker(lab).pid, signal.SIGKILL)
    report = await lab.settled(await lab.push(2))
    assert (report.running, broker(lab).starts) == (Version(1, 2), 2)


@needs_mosquitto
async def test_a_broker_that_was_wiped_is_filled_with_what_is_committed(on_mosquitto: Lab) -> None:
    lab = on_mosquitto
    await lab.settled(await lab.push(1))
    await lab.settled(await lab.push(2))
    lab.serving[-1].cancel()
    for each in (broker(lab).folder / "store").iterdir():
        each.unlink()
    os.kill(broker(lab).pid, signal.SIGKILL)
    lab.applier = MemoryApplier()
    lab.start_agent()
    async with asyncio.timeout(PATIENCE_S):
        await until(lambda: lab.applier.applied == [{"port": 2}])


@needs_mosquitto
async def test_a_broker_that_went_back_in_time_does_not_take_an_agent_with_it(on_mosquitto: Lab) -> None:
    lab = on_mosquitto
    await lab.settled(await lab.push(1))
    stored = await retained(lab)
    await lab.settled(await lab.push(2))
    lab.serving[0].cancel()
    async with lab.subject.line(CONTROLLER).connect() as bus:
        await bus.publish(topic(LAB, "firewall", DESIRED), stored, retain=True)
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: lab.agent.last.outcome is Outcome.REFUSED)
    assert lab.agent.last.reason == "generation 1.1 must not be lower than 1.2, which runs"


async def retained(lab: Lab) -> bytes:
    """What the broker keeps as desired, read as the agent would."""
    lab.serving[-1].cancel()
    async with lab.subject.line("firewall").connect() as bus:
        await bus.subscribe(topic(LAB, "firewall", DESIRED))
        payload = (await anext(bus.messages())).payload
    lab.start_agent()
    return payload


@needs_mosquitto
async def test_a_broker_that_was_stopped_for_a_while_delivers_afterwards(on_mosquitto: Lab) -> None:
    lab = on_mosquitto
    await lab.settled(await lab.push(1))
    os.kill(broker(lab).pid, signal.SIGSTOP)
    entry = await lab.push(2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await lab.controller.settled("firewall", entry.version)
    os.kill(broker(lab).pid, signal.SIGCONT)
    assert (await lab.settled(entry)).running == Version(1, 2)


@needs_mosquitto
async def test_a_broker_that_stops_answering_is_killed_and_started_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with MosquittoBroker.run(LAB, tmp_path / "broker", clock) as child, asyncio.timeout(PATIENCE_S):
        os.kill(child.pid, signal.SIGSTOP)
        while child.starts == 1:
            clock.advance(10)
            await asyncio.sleep(0.01)
        await child.ready()


async def test_an_embedded_broker_that_lost_everything_is_filled_again(tmp_path: Path) -> None:
    async with embedded(tmp_path) as subject, lab_on(subject, tmp_path) as lab:
        await lab.settled(await lab.push(1))
        cast("Embedded", subject).broker.forget()
        lab.serving[0].cancel()
        again = Controller(LAB, lab.ledger, subject.line(CONTROLLER), CONTROLLER_KEY, SystemClock())
        lab.serving.append(lab.tasks.create_task(again.run()))
        lab.serving[1].cancel()
        lab.applier = MemoryApplier()
        lab.start_agent()
        async with asyncio.timeout(PATIENCE_S):
            await until(lambda: lab.applier.applied == [{"port": 1}])


async def test_what_was_committed_while_no_controller_ran_is_published_by_the_next(lab: Lab) -> None:
    await lab.settled(await lab.push(1))
    lab.serving[0].cancel()
    await asyncio.gather(lab.serving[0], return_exceptions=True)
    await lab.push(2)
    assert [each.version for each in await lab.ledger.unpublished()] == [Version(1, 2)]
    again = Controller(LAB, lab.ledger, lab.subject.line(CONTROLLER), CONTROLLER_KEY, SystemClock())
    lab.serving.append(lab.tasks.create_task(again.run()))
    async with asyncio.timeout(PATIENCE_S):
        assert (await again.settled("firewall", Version(1, 2))).running == Version(1, 2)
    assert await lab.ledger.unpublished() == ()
