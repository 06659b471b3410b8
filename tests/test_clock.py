"""The manual clock wakes sleepers in the order of their deadlines."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from vafw.clock import ManualClock


@given(st.lists(st.floats(min_value=0.1, max_value=100), min_size=1, max_size=20))
def test_sleepers_wake_in_the_order_of_their_deadlines(pauses: list[float]) -> None:
    async def sleep_all() -> list[float]:
        clock = ManualClock()
        woken: list[float] = []

        async def sleeper(pause: float) -> None:
            await clock.sleep(pause)
            woken.append(pause)

        async with asyncio.TaskGroup() as tasks:
            for pause in pauses:
                tasks.create_task(sleeper(pause))
            await asyncio.sleep(0)
            clock.advance(100)
        return woken

    assert asyncio.run(sleep_all()) == sorted(pauses)


async def test_a_sleeper_stays_asleep_before_its_deadline() -> None:
    clock = ManualClock()
    asleep = asyncio.create_task(clock.sleep(10))
    await asyncio.sleep(0)
    clock.advance(9.9)
    await asyncio.sleep(0)
    assert not asleep.done()
    clock.advance(0.2)
    await asleep


async def test_a_sleep_of_nothing_returns_at_once() -> None:
    await ManualClock().sleep(0)
