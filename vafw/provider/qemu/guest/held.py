"""Frames that wait until the firewall has heard what the notice before them says.

A program that tells the firewall of an address sends the notice first and the answer to the user behind it. On the
model the firewall has learnt it before the answer is on its way. Between two guests nothing sees to that: the user's
first packet would come to a kernel that does not know the address yet, and be refused. So what a program sends behind a
notice is held back here until the firewall says that it heard (`name_notice.heard`), and no longer than a while: the
answer is the user's, whether a firewall listens or not.

Pure: the time comes in, and frames go out.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias, final

from vafw.traffic.name_notice import heard, is_notice

Sent: TypeAlias = tuple[tuple[str, bytes], ...]
"""Frames, each with the port that it leaves by."""
LONGEST_S: Final = 1.0
"""A resolver asks again after some seconds, and should not have to."""
MOST: Final = 256
"""Answers that wait at most; the one that has waited longest goes on its way first."""


@final
class Held:
    """What waits, by the frame that it waits for and the port that this is to come in by."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[str, bytes], tuple[float, Sent]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def sends(self, frames: Sent, now_s: float) -> Sent:
        """Those of a program's frames that are to go now; what stands behind the last notice waits."""
        last = max((at for at, (_, frame) in enumerate(frames) if is_notice(frame)), default=None)
        if last is None or not frames[last + 1 :]:
            return frames
        port, notice = frames[last]
        key = port, heard(notice)
        _, before = self._waiting.pop(key, (0.0, ()))
        self._waiting[key] = now_s + LONGEST_S, (*before, *frames[last + 1 :])
        if len(self._waiting) > MOST:
            _, (_, freed) = self._waiting.popitem(last=False)
            return (*frames[: last + 1], *freed)
        return frames[: last + 1]

    def freed(self, port: str, frame: bytes) -> Sent | None:
        """What waited for this frame; None where it is none that anything waits for."""
        _, frames = self._waiting.pop((port, frame), (0.0, None))
        return frames

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until something has waited long enough; None where nothing waits."""
        first = next(iter(self._waiting.values()), None)
        return None if first is None else max(0.0, first[0] - now_s)

    def overdue(self, now_s: float) -> Sent:
        """What has waited long enough."""
        freed: list[tuple[str, bytes]] = []
        while self.due_in_s(now_s) == 0.0:
            _, (_, frames) = self._waiting.popitem(last=False)
            freed += frames
        return tuple(freed)
