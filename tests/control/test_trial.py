"""Changes on trial: the agent holds the deadline, the ledger follows; whoever dies, nothing unconfirmed stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.control.parts import AGENT_KEY, CONTROLLER_KEY, NOW, PLACE, START, MemoryApplier, agent_on, sealed
from tests.control.subjects import LAB, embedded
from vafw.clock import ManualClock, SystemClock
from vafw.control.agent import Agent, Identity, Outcome
from vafw.control.bus import MqttLine
from vafw.control.controller import Controller
from vafw.control.entry import Entry, TrialState
from vafw.control.envelope import EnvelopeRefused, Version, digest_of, unseal
from vafw.control.ledger import Ledger, OnTrial
from vafw.control.topics import CONTROLLER
from vafw.errors import Refused
from vafw.trace import Value

NOWHERE = MqttLine("127.0.0.1", 1, "firewall")
ONE: dict[str, Value] = {"port": 1}
TWO: dict[str, Value] = {"port": 2}
LATE = "no confirmation came within 30 s"


async def let_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def begun(applier: MemoryApplier, clock: ManualClock) -> Agent:
    """An agent with generation 1 for good and generation 2 on trial."""
    agent = agent_on(NOWHERE, applier, clock)
    await agent.take(sealed(1, ONE))
    report = await agent.take(sealed(2, TWO, trial_s=30))
    assert (report.outcome, report.running) == (Outcome.ON_TRIAL, Version(1, 2))
    assert report.reason == "it goes back at 00:00:30 UTC unless it is confirmed"
    await let_run()
    return agent


async def test_what_nobody_confirms_goes_back_without_any_bus() -> None:
    applier, clock = MemoryApplier(), ManualClock(NOW)
    agent = await begun(applier, clock)
    clock.advance(29.9)
    await let_run()
    assert agent.running.version == Version(1, 2)
    clock.advance(0.1)
    await let_run()
    assert (agent.last.outcome, agent.last.reason, agent.running.version) == (Outcome.WENT_BACK, LATE, Version(1, 1))
    assert applier.applied == [ONE, TWO, ONE]


async def test_the_same_generation_without_a_trial_confirms_it() -> None:
    applier, clock = MemoryApplier(), ManualClock(NOW)
    agent = await begun(applier, clock)
    clock.advance(29)
    assert (await agent.take(sealed(2, TWO))).outcome is Outcome.CONFIRMED
    clock.advance(100)
    await let_run()
    assert agent.running.version == Version(1, 2)
    assert applier.applied == [ONE, TWO]


async def test_the_trial_said_again_moves_no_deadline_and_what_went_back_is_not_tried_again() -> None:
    applier, clock = MemoryApplier(), ManualClock(NOW)
    agent = await begun(applier, clock)
    clock.advance(20)
    assert (await agent.take(sealed(2, TWO, trial_s=30))).outcome is Outcome.ON_TRIAL
    clock.advance(10)
    await let_run()
    for again in (sealed(2, TWO, trial_s=30), sealed(2, TWO)):
        report = await agent.take(again)
        assert (report.outcome, report.reason) == (Outcome.WENT_BACK, LATE)
    assert applier.applied == [ONE, TWO, ONE]


async def test_a_trial_that_is_not_healthy_goes_back_at_once() -> None:
    applier = MemoryApplier()
    agent = agent_on(NOWHERE, applier, ManualClock(NOW))
    await agent.take(sealed(1, ONE))
    report = await agent.take(sealed(2, {"sick": True}, trial_s=30))
    assert (report.outcome, report.reason) == (Outcome.WENT_BACK, "the probe failed")
    assert applier.applied == [ONE, ONE]


async def test_an_agent_that_is_killed_meanwhile_is_followed_by_one_that_runs_what_was_confirmed() -> None:
    applier, clock = MemoryApplier(), ManualClock(NOW)
    killed = await begun(applier, clock)
    identity = Identity("lab", "firewall", AGENT_KEY, CONTROLLER_KEY.public_key())
    agent = Agent(identity, NOWHERE, applier, clock, started_with=killed.confirmed, spent=killed.spent)
    serving = asyncio.create_task(agent.run())
    await let_run()
    reason = "the agent ended before it was confirmed"
    assert applier.applied == [ONE, TWO, ONE]
    assert (agent.last.outcome, agent.last.reason, agent.last.asked) == (Outcome.WENT_BACK, reason, Version(1, 2))
    assert (await agent.take(sealed(2, TWO, trial_s=30))).outcome is Outcome.WENT_BACK
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


@given(
    st.lists(st.one_of(st.sampled_from(["try", "confirm", "again", "sick", "change"]), st.integers(1, 40)), max_size=14)
)
def test_when_all_time_has_passed_only_what_was_confirmed_or_never_on_trial_is_in_force(
    events: list[str | int],
) -> None:
    async def all_of_them() -> None:
        applier, clock = MemoryApplier(), ManualClock(NOW)
        agent = agent_on(NOWHERE, applier, clock)
        number, sure = 0, START
        trial: tuple[int, dict[str, Value], float] | None = None
        for event in [*events, 40]:
            body: dict[str, Value] = {"port": number + 1}
            if isinstance(event, int):
                clock.advance(event)
                await let_run()
            elif event == "try":
                number += 1
                await agent.take(sealed(number, body, trial_s=30))
                trial = number, body, clock.monotonic() + 30
            elif event == "sick":
                number += 1
                await agent.take(sealed(number, {"sick": True}, trial_s=30))
                trial = None
            elif event == "change":
                number += 1
                await agent.take(sealed(number, body))
                trial, sure = None, body
            elif trial is not None:
                await agent.take(sealed(trial[0], trial[1], trial_s=None if event == "confirm" else 30))
                if event == "confirm" and clock.monotonic() < trial[2]:
                    sure = trial[1]
                    trial = None
        assert agent.running.config == sure
        assert agent.running.digest == digest_of(sure)
        assert (applier.applied or [START])[-1] == sure

    asyncio.run(all_of_them())


@pytest.mark.parametrize("wrong", [0, -1, 86401, True, "30"])
def test_a_trial_without_a_length_is_refused(wrong: float) -> None:
    message = sealed(2, TWO, trial_s=wrong)
    with pytest.raises(EnvelopeRefused) as refused:
        unseal(message, PLACE, CONTROLLER_KEY.public_key(), now=NOW)
    assert str(refused.value) == f"trial must be seconds, above 0 and 86400 at most, not {wrong!r}"


# -- the ledger -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def on_trial(path: Path) -> AsyncIterator[tuple[Ledger, Entry]]:
    async with Ledger.open(path / "ledger", ManualClock(NOW)) as ledger:
        first = await ledger.commit("firewall", ONE, seen=None, basis={}, note="first", author="ada")
        second = await ledger.commit(
            "firewall", TWO, seen=first.version, basis={}, note="second", author="ada", within_s=30
        )
        yield ledger, second


async def test_a_second_change_meanwhile_is_refused(tmp_path: Path) -> None:
    async with on_trial(tmp_path) as (ledger, entry):
        with pytest.raises(OnTrial) as refused:
            await ledger.commit("firewall", ONE, seen=entry.version, basis={}, note="", author="")
    assert refused.value.message == (
        "a change of firewall must wait until the one before it is confirmed or went back: generation 1.2 is on trial"
    )
    assert refused.value.hint == "keep it with vafw config confirm TOPOLOGY firewall, or let its time pass"


async def test_what_went_back_is_followed_by_what_was_confirmed(tmp_path: Path) -> None:
    async with on_trial(tmp_path) as (ledger, entry):
        assert await ledger.gone_back("firewall", LATE, version=Version(1, 1)) is None
        after = await ledger.gone_back("firewall", LATE, version=entry.version)
        assert after is not None
        assert after == await ledger.desired("firewall")
        assert (after.version, after.body, after.note) == (Version(1, 3), ONE, f"1.2 went back to 1.1: {LATE}")
        tried = (await ledger.history("firewall"))[1].trial
        assert tried is not None
        assert (tried.state, tried.reason) == (TrialState.WENT_BACK, LATE)


async def test_a_confirmation_counts_once_the_agent_has_said_so(tmp_path: Path) -> None:
    async with on_trial(tmp_path) as (ledger, entry):
        await ledger.published(entry)
        asked = await ledger.ask_to_confirm("firewall")
        assert await ledger.unpublished() == (asked,)
        await ledger.published(entry)  # of the trial, late: the confirmation still waits
        assert await ledger.unpublished() == (asked,)
        assert asked.is_on_trial
        assert await ledger.confirmed("firewall", entry.version) == await ledger.desired("firewall")
        assert not (await ledger.desired("firewall")).is_on_trial
        with pytest.raises(Refused) as refused:
            await ledger.ask_to_confirm("firewall")
    assert refused.value.message == (
        "firewall must have a change on trial to confirm, and has none: generation 1.2 is confirmed already"
    )


async def test_a_new_epoch_keeps_nothing_unconfirmed(tmp_path: Path) -> None:
    async with on_trial(tmp_path) as (ledger, _):
        await ledger.begin_epoch()
        desired = await ledger.desired("firewall")
        assert (desired.version, desired.body, desired.trial) == (Version(2, 3), ONE, None)


# -- over a broker --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confirm", [True, False])
async def test_controller_and_agent_over_a_broker_end_at_the_same(tmp_path: Path, confirm: bool) -> None:
    clock = ManualClock(NOW)
    applier = MemoryApplier()
    async with (
        asyncio.timeout(20),
        Ledger.open(tmp_path / "ledger", SystemClock()) as ledger,
        embedded(tmp_path) as subject,
    ):
        await ledger.enrol("firewall", AGENT_KEY.public_key())
        controller = Controller(LAB, ledger, subject.line(CONTROLLER), CONTROLLER_KEY, ManualClock(NOW))
        agent = agent_on(subject.line("firewall"), applier, clock)
        serving = [asyncio.create_task(each.run()) for each in (controller, agent)]
        first = await controller.push("firewall", ONE, seen=None)
        await controller.settled("firewall", first.version)
        second = await controller.push("firewall", TWO, seen=first.version, within_s=30)
        assert (await controller.settled("firewall", second.version)).outcome is Outcome.ON_TRIAL
        if confirm:
            await controller.confirm("firewall")
        else:
            await let_run()
            clock.advance(30)
        report = await controller.settled("firewall", second.version, trial_over=True)
        if not confirm:
            report = await controller.settled("firewall", Version(1, 3))
        desired = await ledger.desired("firewall")
        assert (report.running, report.digest) == (desired.version, desired.digest)
        assert desired.body == (TWO if confirm else ONE)
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
