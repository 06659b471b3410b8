"""Pauses between attempts: twice as long each time, up to a limit, with jitter so that many do not return at once."""

from __future__ import annotations

import random
from typing import Final, final

from vafw.clock import Clock

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 5.0
JITTER: Final = 0.5
"""A pause is cut by up to this share."""


@final
class Pacing:
    """The pauses of one who tries again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pause_s = FIRST_PAUSE_S

    def succeeded(self) -> None:
        """Begin with the shortest pause again."""
        self._pause_s = FIRST_PAUSE_S

    async def pause(self) -> None:
        """Wait, longer each time."""
        share = 1 - JITTER * random.random()
        await self._clock.sleep(self._pause_s * share)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
