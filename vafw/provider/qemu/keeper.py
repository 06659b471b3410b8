"""Keeping VMs alive: how soon a VM that ended is started again, and when it no longer is.

    ended ─▶ pause ─▶ started again ─▶ … ─▶ ended for the fifth time within a minute ─▶ left as failed

The pause doubles from one end to the next, so that a guest that cannot start does not take the host with it; a VM that
has run for a minute begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final, final

RESTART_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
"""Before the first restart, the second, ...; after as many ends in a row there is no further one."""
CALM_S: Final = 60.0
"""A VM that ran this long is no part of a row of failures any more."""


@final
class Pacing:
    """The row of failures of one VM."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    def after_end(self, ran_s: float) -> float | None:
        """The pause in seconds before the next start of a VM that ended after `ran_s`; None: leave it."""
        self._failures = 1 if ran_s >= CALM_S else self._failures + 1
        if self._failures > len(RESTART_PAUSES_S):
            return None
        return RESTART_PAUSES_S[self._failures - 1]


@final
class Crew:
    """Tasks that last as long as the machine is on, each by a name: ended one by one, and never left behind."""

    def __init__(self) -> None:
        self._members: dict[str, asyncio.Task[None]] = {}

    def add(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Let a task begin; there is one of a name at a time."""
        self._members[name] = asyncio.create_task(work, name=f"vafw[{name}]")

    async def dismiss(self, name: str) -> None:
        """End one, and wait until it has; nothing where there is none of that name."""
        task = self._members.pop(name, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def dismiss_all(self) -> None:
        """End every one."""
        for name in tuple(self._members):
            await self.dismiss(name)
