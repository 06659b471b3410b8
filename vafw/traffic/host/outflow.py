"""What a connection sends: bytes until they are acknowledged, and when which of them are sent, and sent again.

Retransmission by time (RFC 6298) and by duplicate acknowledgements, with the congestion window of NewReno (RFC 5681,
RFC 6582). A window that is closed is probed (RFC 9293, section 3.8.6.1): a probe that is answered is no silence,
however often, so that ending such a connection is its owner's affair. No selective acknowledgements, no window scaling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from vafw.traffic.host.sequence import after, ahead

BUFFER_BYTES: Final = 0xFFFF
"""Bytes taken that are not acknowledged: no more can be on their way to an unscaled window."""
FIRST_TIMEOUT_S: Final = 1.0
LEAST_TIMEOUT_S: Final = 1.0
LONGEST_TIMEOUT_S: Final = 60.0
"""RFC 6298, section 2: before anything was measured, and the bounds of what follows from measuring."""
INITIAL_SEGMENTS: Final = 10
"""Segments of the first congestion window (RFC 6928)."""
DUPLICATES: Final = 3
"""Acknowledgements of the same byte after which it is taken for lost (RFC 5681, section 3.2)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one segment is to carry."""

    sequence: int
    data: bytes
    push: bool = False
    """Whether nothing waits behind it."""
    last: bool = False
    """Whether a FIN follows the data."""


@final
class Timeout:
    """How long an acknowledgement is waited for (RFC 6298)."""

    def __init__(self) -> None:
        self._wait_s = FIRST_TIMEOUT_S
        self._smoothed_s: float | None = None
        self._variation_s = 0.0
        self.silences = 0
        """Timeouts since the last sign of life."""

    @property
    def wait_s(self) -> float:
        """Seconds until the next silence."""
        return min(self._wait_s * float(2**self.silences), LONGEST_TIMEOUT_S)

    def measured(self, sample_s: float) -> None:
        """A byte that was sent once was acknowledged after so many seconds."""
        if self._smoothed_s is None:
            self._smoothed_s, self._variation_s = sample_s, sample_s / 2
        else:
            self._variation_s += (abs(self._smoothed_s - sample_s) - self._variation_s) / 4
            self._smoothed_s += (sample_s - self._smoothed_s) / 8
        self._wait_s = max(LEAST_TIMEOUT_S, self._smoothed_s + 4 * self._variation_s)


@final
class Outflow:
    """One direction of a connection, as its sender sees it."""

    def __init__(self, first: int, segment_bytes: int, window: int) -> None:
        """`first` is the sequence number of the first byte, `window` what the receiver has room for."""
        self.acknowledged = first
        """Sequence number of the first byte that is not acknowledged."""
        self.sent = first
        """The sequence number behind all that was ever sent."""
        self.due_s: float | None = None
        """When the next timeout is; None: nothing is waited for."""
        self.timeout = Timeout()
        self._next = first
        self._segment_bytes = segment_bytes
        self._window = self._largest_window = window
        self._congestion = INITIAL_SEGMENTS * segment_bytes
        self._threshold = BUFFER_BYTES * 2
        self._duplicates = 0
        self._recovering: int | None = None
        """What was sent when a loss was noticed; until it is acknowledged, losses are no news."""
        self._resend = False
        self._timed: tuple[int, float] | None = None
        self._data = bytearray()
        self._end: int | None = None
        """Sequence number of the FIN, once there is to be one."""

    @property
    def room(self) -> int:
        """Bytes that `write` would take."""
        return 0 if self._end is not None else BUFFER_BYTES - len(self._data)

    @property
    def is_over(self) -> bool:
        """Whether everything, the FIN included, is acknowledged."""
        return self._end is not None and ahead(self.acknowledged, self._end) > 0

    @property
    def waiting(self) -> int:
        """Bytes that are not acknowledged."""
        return len(self._data)

    @property
    def largest_window(self) -> int:
        """The largest window that was ever offered."""
        return self._largest_window

    @property
    def next(self) -> int:
        """The sequence number of what is sent next."""
        return self._next

    def write(self, data: bytes) -> int:
        """Take as much of the data as there is room for; how much that was."""
        taken = data[: self.room]
        self._data += taken
        return len(taken)

    def shut(self) -> None:
        """Nothing more will be written."""
        if self._end is None:
            self._end = after(self.acknowledged, len(self._data))

    def limit_segments(self, segment_bytes: int) -> None:
        """Segments must be no larger than that from now on."""
        if segment_bytes < self._segment_bytes:
            self._segment_bytes = segment_bytes
            self._next = self.acknowledged
            self._timed = None

    def acknowledges(self, number: int, window: int, now_s: float, *, plain: bool) -> bool:
        """Take an acknowledgement; whether it is of anything new. `plain`: the segment carried nothing else."""
        step = ahead(number, self.acknowledged)
        if step > 0:
            self._advance(number, step, now_s)
        elif plain and not step and window == self._window and self._next != self.acknowledged:
            self._duplicated()
        if step >= 0:
            if not window:
                self.timeout.silences = 0
            elif not self._window:
                self._next = self.acknowledged  # what probed the closed window was not kept
            self._window = window
            self._largest_window = max(self._largest_window, window)
        return step > 0

    def expired(self, now_s: float) -> None:
        """A timeout: everything is taken for lost, and begins anew with one segment."""
        self.timeout.silences += 1
        self._threshold = max(ahead(self.sent, self.acknowledged) // 2, 2 * self._segment_bytes)
        self._congestion = self._segment_bytes
        self._next = self.acknowledged
        self._duplicates, self._recovering, self._timed = 0, None, None
        self._resend = True
        self.due_s = now_s + self.timeout.wait_s

    def pieces(self, now_s: float) -> Iterator[Piece]:
        """What may be sent now."""
        if self._resend:
            self._resend = False
            yield from self._first_again()
        while (piece := self._piece()) is not None:
            self._sends(piece, now_s)
            yield piece
        if self.due_s is None and self._unacknowledged:
            self.due_s = now_s + self.timeout.wait_s

    @property
    def _unacknowledged(self) -> bool:
        return bool(self._data) or (self._end is not None and not self.is_over)

    def _piece(self) -> Piece | None:
        """The next piece that both windows have room for, if it is no silly one."""
        offset = ahead(self._next, self.acknowledged)
        left = len(self._data) - offset
        usable = min(self._window, self._congestion) - offset
        size = min(left, self._segment_bytes, usable)
        if left > 0:
            silly = size < min(self._segment_bytes, left) and size * 2 < self._largest_window
            return None if size <= 0 or silly else self._at(offset, size, usable)
        return Piece(self._next, b"", last=True) if self._next == self._end and usable > 0 else None

    def _at(self, offset: int, size: int, usable: int) -> Piece:
        whole = offset + size == len(self._data)
        data = bytes(self._data[offset : offset + size])
        return Piece(self._next, data, whole, whole and self._end is not None and usable > size)

    def _sends(self, piece: Piece, now_s: float) -> None:
        self._next = after(piece.sequence, len(piece.data) + piece.last)
        if ahead(self._next, self.sent) > 0:
            self.sent = self._next
            if self._timed is None:
                self._timed = self._next, now_s

    def _first_again(self) -> Iterator[Piece]:
        """The first segment that is not acknowledged, one byte of it where the window is closed."""
        self._timed = None
        size = min(len(self._data), self._segment_bytes, max(1, self._window))
        if size or (self._end is not None and not self.is_over):
            whole = size == len(self._data)
            data = bytes(self._data[:size])
            piece = Piece(self.acknowledged, data, whole, whole and self._end is not None)
            reached = after(piece.sequence, size + piece.last)
            self._next = reached if ahead(reached, self._next) > 0 else self._next
            self.sent = reached if ahead(reached, self.sent) > 0 else self.sent
            yield piece

    def _advance(self, number: int, step: int, now_s: float) -> None:
        if self._timed is not None and ahead(number, self._timed[0]) >= 0:
            self.timeout.measured(now_s - self._timed[1])
            self._timed = None
        del self._data[:step]
        self.acknowledged = number
        self._next = number if ahead(number, self._next) > 0 else self._next
        self.timeout.silences = self._duplicates = 0
        self._grow(step)
        self.due_s = now_s + self.timeout.wait_s if self._unacknowledged else None

    def _grow(self, step: int) -> None:
        """The congestion window after new data was acknowledged."""
        if self._recovering is None:
            growth = step if self._congestion < self._threshold else self._segment_bytes**2 // self._congestion
            self._congestion = min(self._congestion + max(1, min(growth, self._segment_bytes)), 2 * BUFFER_BYTES)
        elif ahead(self.acknowledged, self._recovering) >= 0:
            self._recovering, self._congestion = None, self._threshold
        else:
            self._resend = True

    def _duplicated(self) -> None:
        self._duplicates += 1
        if self._recovering is not None:
            self._congestion = min(self._congestion + self._segment_bytes, 2 * BUFFER_BYTES)
        elif self._duplicates == DUPLICATES:
            self._recovering = self.sent
            in_flight = ahead(self.sent, self.acknowledged)
            self._threshold = max(in_flight // 2, 2 * self._segment_bytes)
            self._congestion = self._threshold + DUPLICATES * self._segment_bytes
            self._resend = True
