"""What a connection receives: bytes put in order, no more of them than the window that was opened for them.

A segment counts as far as it lies in the window; what comes early waits in pieces that do not overlap. Of two ends the
first stands, and what lies behind it is cut off. The window's right edge never goes back (RFC 9293, section 3.8.6), and
moves only in steps worth a segment (RFC 1122, section 4.2.3.3).
"""

from __future__ import annotations

from typing import Final, final

from vafw.traffic.host.sequence import after, ahead

WINDOW_BYTES: Final = 0xFFFF
"""Bytes kept that nobody has read: as much as the header's field can say, unscaled."""
EARLY_LIMIT: Final = 128
"""Pieces kept that came early: twice what a window of full segments holds, so that only crumbs are refused."""


@final
class Inflow:
    """One direction of a connection, as its receiver sees it."""

    def __init__(self, first: int, step: int) -> None:
        """`first` is the sequence number of the first byte; the window moves in steps of `step` bytes."""
        self.next = first
        """Sequence number of the next byte to receive."""
        self.is_over = False
        """Whether the sender's FIN has been reached."""
        self._edge = after(first, WINDOW_BYTES)
        self._step = step
        self._unread = bytearray()
        self._early: list[tuple[int, bytes]] = []
        self._end: int | None = None

    @property
    def unread(self) -> int:
        """Bytes that can be read."""
        return len(self._unread)

    def open_window(self) -> int:
        """Open the window as far as there is room; bytes that may come, to be told to the sender."""
        edge = after(self.next, WINDOW_BYTES - len(self._unread))
        if ahead(edge, self._edge) >= self._step:
            self._edge = edge
        return max(0, ahead(self._edge, self.next))

    @property
    def has_opened(self) -> bool:
        """Whether the window could be opened by a step, and the sender has not heard of it."""
        edge = after(self.next, WINDOW_BYTES - len(self._unread))
        return not self.is_over and ahead(edge, self._edge) >= self._step

    def admits(self, sequence: int, length: int) -> bool:
        """Whether any of a segment lies in the window (RFC 9293, section 3.10.7.4); SYN and FIN count as one byte."""
        room = max(0, ahead(self._edge, self.next))
        if not length:
            return 0 <= ahead(sequence, self.next) <= max(0, room - 1)
        return ahead(after(sequence, length - 1), self.next) >= 0 and ahead(sequence, self.next) < room

    def take(self, sequence: int, data: bytes, *, last: bool) -> bool:
        """Take a segment in; whether the next byte to receive is another one now."""
        before = self.next
        if last and self._end is None and ahead(after(sequence, len(data)), self.next) >= 0:
            self._end = after(sequence, len(data))
        limit = self._edge if self._end is None or ahead(self._end, self._edge) > 0 else self._end
        begin = max(0, ahead(self.next, sequence))
        end = min(len(data), ahead(limit, sequence))
        if begin < end:
            self._keep(after(sequence, begin), data[begin:end])
        if self.next == self._end and not self.is_over:
            self.is_over = True
            self.next = after(self.next, 1)
        return self.next != before

    def read(self, most: int) -> bytes:
        """Up to `most` bytes, in order."""
        data = bytes(self._unread[:most])
        del self._unread[:most]
        return data

    def _keep(self, sequence: int, data: bytes) -> None:
        if sequence == self.next:
            self._append(data)
        elif len(self._early) < EARLY_LIMIT:
            self._early.append((sequence, data))
            self._early.sort(key=lambda piece: ahead(piece[0], self.next))
            self._cut_overlaps()
        while self._early and ahead(self._early[0][0], self.next) <= 0:
            start, piece = self._early.pop(0)
            self._append(piece[ahead(self.next, start) :])

    def _append(self, data: bytes) -> None:
        self._unread += data
        self.next = after(self.next, len(data))

    def _cut_overlaps(self) -> None:
        """Leave each early byte in one piece, so that all pieces together are never more than the window."""
        kept: list[tuple[int, bytes]] = []
        for sequence, data in self._early:
            reached = after(kept[-1][0], len(kept[-1][1])) if kept else sequence
            known = max(0, ahead(reached, sequence))
            if known < len(data):
                kept.append((after(sequence, known), data[known:]))
        self._early = kept
