"""What an agent decides, without a bus: every message in, one report out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.control.parts import FOREIGN_KEY, HOUR, NOW, PLACE, START, MemoryApplier, agent_on, sealed
from vafw.clock import ManualClock
from vafw.control.agent import APPLY_TIMEOUT_S, Agent, Outcome, Report
from vafw.control.bus import MqttLine
from vafw.control.envelope import Version, digest_of
from vafw.machine.report import Health
from vafw.trace import Value

NOWHERE = MqttLine("127.0.0.1", 1, "firewall")


def agent(applier: MemoryApplier, floor: Version | None = None) -> Agent:
    return agent_on(NOWHERE, applier, ManualClock(NOW), floor=floor)


async def test_a_newer_generation_is_applied() -> None:
    applier = MemoryApplier()
    report = await agent(applier).take(sealed(1, {"port": 1}))
    assert report == Report(Outcome.APPLIED, "the probe passed", Version(1, 1), Version(1, 1), digest_of({"port": 1}))
    assert applier.applied == [{"port": 1}]


async def test_the_same_generation_again_is_applied_once() -> None:
    applier = MemoryApplier()
    one = agent(applier)
    await one.take(sealed(1, {"port": 1}))
    report = await one.take(sealed(1, {"port": 1}))
    assert (report.outcome, report.reason) == (Outcome.APPLIED, "it runs already")
    assert applier.applied == [{"port": 1}]


@pytest.mark.parametrize(
    ("message", "reason", "asked"),
    [
        (sealed(1, {"port": 9}), "generation 1.1 must not be lower than 1.2, which runs", Version(1, 1)),
        (sealed(2, {"port": 9}), "generation 1.2 must have the body it had before, and has another", Version(1, 2)),
        (sealed(3, {"port": 9}, key=FOREIGN_KEY), "sig must be the controller's, and is not", None),
        (b"{}", "an envelope must have the key v", None),
        (
            sealed(3, {"port": 9}, at=replace(PLACE, appliance="dns")),
            "an envelope on this topic must be for lab firewall, not for 'lab' 'dns'",
            None,
        ),
        (
            sealed(3, {"port": 9}, now=NOW - 2 * HOUR),
            "exp must not have passed: expired 2025-12-31T23:00:00.000Z, and it is 2026-01-01T00:00:00.000Z",
            None,
        ),
    ],
)
async def test_what_may_not_be_applied_is_refused(message: bytes, reason: str, asked: Version | None) -> None:
    applier = MemoryApplier()
    one = agent(applier)
    await one.take(sealed(2, {"port": 2}))
    assert await one.take(message) == Report(Outcome.REFUSED, reason, asked, Version(1, 2), digest_of({"port": 2}))
    assert applier.applied == [{"port": 2}]


async def test_a_generation_below_the_floor_is_refused_after_a_restart() -> None:
    report = await agent(MemoryApplier(), floor=Version(1, 7)).take(sealed(6, {"port": 6}))
    reason = "generation 1.6 must not be lower than 1.7, which was committed before the start"
    assert report == Report(Outcome.REFUSED, reason, Version(1, 6), None, digest_of(START))


async def test_a_new_epoch_is_newer_than_every_generation_before() -> None:
    one = agent(MemoryApplier())
    await one.take(sealed(9, {"port": 9}))
    assert (await one.take(sealed(1, {"port": 1}, epoch=2))).running == Version(2, 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"sick": True}, "the probe failed"),
        ({"raises": True}, "applying it failed: RuntimeError: it broke"),
    ],
)
async def test_a_change_that_is_not_healthy_goes_back(body: dict[str, Value], reason: str) -> None:
    applier = MemoryApplier()
    one = agent(applier)
    await one.take(sealed(1, {"port": 1}))
    report = await one.take(sealed(2, body))
    assert report == Report(Outcome.WENT_BACK, reason, Version(1, 2), Version(1, 1), digest_of({"port": 1}))
    assert applier.applied == [{"port": 1}, {"port": 1}]


async def test_the_first_change_goes_back_to_what_the_appliance_was_started_with() -> None:
    applier = MemoryApplier()
    report = await agent(applier).take(sealed(1, {"sick": True}))
    assert (report.outcome, report.running, applier.applied) == (Outcome.WENT_BACK, None, [START])


async def test_a_change_that_takes_too_long_goes_back() -> None:
    class Slow(MemoryApplier):
        async def apply(self, config: Mapping[str, Value]) -> Health:
            if config.get("slow"):
                await asyncio.Event().wait()
            return await super().apply(config)

    clock = ManualClock(NOW)
    one = agent_on(NOWHERE, Slow(), clock)
    taking = asyncio.ensure_future(one.take(sealed(1, {"slow": True})))
    for _ in range(5):
        await asyncio.sleep(0)
    clock.advance(APPLY_TIMEOUT_S)
    report = await taking
    assert (report.outcome, report.reason) == (Outcome.WENT_BACK, "it was not healthy within 20 s")


async def test_going_back_that_fails_too_is_said() -> None:
    class Dying(MemoryApplier):
        async def apply(self, config: Mapping[str, Value]) -> Health:
            return Health(False, "it is dead")

    report = await agent(Dying()).take(sealed(1, {"port": 1}))
    reason = "it is dead; going back failed too: it is dead"
    assert report == Report(Outcome.BROKEN, reason, Version(1, 1), None, digest_of(START))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.booleans()), max_size=12))
def test_whatever_arrives_in_whatever_order_the_generation_never_goes_down(
    arriving: list[tuple[int, int, bool]],
) -> None:
    async def all_of_them() -> None:
        applier = MemoryApplier()
        one = agent(applier)
        before = Version(1, 0)
        for epoch, generation, sick in arriving:
            report = await one.take(sealed(generation, {"port": generation, "sick": sick}, epoch=epoch))
            running = report.running or before
            assert running >= before
            before = running

    asyncio.run(all_of_them())
