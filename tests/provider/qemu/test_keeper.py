from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from vafw.provider.qemu.keeper import CALM_S, RESTART_PAUSES_S, Crew, Pacing


def test_the_pause_grows_and_after_the_last_one_the_vm_is_left() -> None:
    pacing = Pacing()
    assert [pacing.after_end(1.0) for _ in range(5)] == [*RESTART_PAUSES_S, None]
    assert pacing.failures == 5


def test_a_vm_that_ran_for_a_while_begins_anew() -> None:
    pacing = Pacing()
    assert [pacing.after_end(ran) for ran in (1.0, 1.0, CALM_S, 1.0)] == [0.5, 1.0, 0.5, 1.0]


@given(st.lists(st.floats(0, CALM_S - 1), max_size=20))
def test_a_vm_that_keeps_ending_soon_is_never_started_more_often_than_there_are_pauses(ran: list[float]) -> None:
    pacing = Pacing()
    pauses = [pacing.after_end(each) for each in ran]
    assert sum(each is not None for each in pauses) <= len(RESTART_PAUSES_S)


async def test_a_crew_leaves_no_task_behind() -> None:
    crew, woken = Crew(), asyncio.Event()

    async def work() -> None:
        await woken.wait()

    crew.add("one", work())
    crew.add("two", work())
    await crew.dismiss("one")
    await crew.dismiss("never there")
    await crew.dismiss_all()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("vafw[")] == []
