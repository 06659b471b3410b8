"""Puts a DNS server's side of a TCP stream together, to read its answers; the segments have long been passed on.

Only what stands in line is believed: bytes follow the ones before them, from the sequence number that the server's SYN
gave; what is said again is not heard again. A segment that comes early is kept, if there is room. More than
`MOST_BYTES` that is no whole message ends the reading: what is not read tells nobody anything, and what depends on it
stays closed.
"""

from __future__ import annotations

from typing import Final, final

from vafw.traffic.dns import messages_in

MOST_BYTES: Final = 2 + 0xFFFF
"""Of one message with its length (RFC 1035, section 4.2.2); as much is kept of early segments."""
MOST_EARLY: Final = 64
"""Segments kept that came early."""


@final
class AnswerStream:
    """One server's answers to one client."""

    def __init__(self, begins: int) -> None:
        """`begins` is the sequence number of the server's first byte."""
        self._next = begins
        self._line = b""
        """What came in line and is no whole message yet."""
        self._early: dict[int, bytes] = {}
        self._broken = False

    def feed(self, sequence: int, data: bytes) -> tuple[bytes, ...]:
        """The messages that a segment completes, in order."""
        if self._broken or not data:
            return ()
        ahead = self._ahead(sequence)
        if ahead > 0:
            self._keep(sequence, data)
            return ()
        self._take(sequence, data)
        for early in sorted(self._early, key=self._ahead):
            if self._ahead(early) <= 0:
                self._take(early, self._early.pop(early))
        found = tuple(messages_in(self._line))
        self._line = self._line[sum(2 + len(each) for each in found) :]
        self._broken = self._broken or len(self._line) > MOST_BYTES
        return () if self._broken else found

    def _take(self, sequence: int, data: bytes) -> None:
        new = data[-self._ahead(sequence) :]
        self._line += new
        self._next = self._next + len(new) & 0xFFFF_FFFF

    def _keep(self, sequence: int, data: bytes) -> None:
        kept = sum(map(len, self._early.values()))
        longer = len(data) > len(self._early.get(sequence, b""))
        if longer and len(self._early) < MOST_EARLY and kept + len(data) <= MOST_BYTES:
            self._early[sequence] = data

    def _ahead(self, sequence: int) -> int:
        """How far a sequence number is ahead of what came in line; negative where it is behind."""
        return (sequence - self._next + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
