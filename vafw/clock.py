"""Where time comes from: everything that waits or stamps is handed a `Clock`, so that tests never sleep."""

from __future__ import annotations

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, final


class Clock(Protocol):
    """Time as a caller needs it."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    def wall(self) -> datetime:
        """The date and time, timezone-aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` seconds of this clock."""
        ...


@final
class SystemClock:
    """The host's clock."""

    def monotonic(self) -> float:
        """Seconds of the host's monotonic clock."""
        return time.monotonic()

    def wall(self) -> datetime:
        """The host's date and time."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the event loop."""
        await asyncio.sleep(seconds)


@final
class ManualClock:
    """A clock that stands still until `advance` moves it; wakes sleepers in the order of their deadlines."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed_s

    def wall(self) -> datetime:
        """The start date plus the seconds advanced."""
        return self._start + timedelta(seconds=self._elapsed_s)

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has passed the deadline."""
        if seconds <= 0:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, self._order, woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move time forward and wake every sleeper whose deadline has come."""
        self._elapsed_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
