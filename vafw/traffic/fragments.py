"""Remembers what was decided on the first fragment of a datagram, so that the others follow it.

Nothing is held back or reassembled. A first fragment holds the whole transport header (`frame.parse` sees to that) and
is decided like a packet; a later one is passed only after it, and never where it would overlap what came before: so
does a header that was accepted get rewritten by one that was not. A fragment ahead of its first is dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from vafw.traffic.conntrack import Connection
from vafw.traffic.frame import Frame
from vafw.traffic.rule import Action

DEFAULT_LIMIT: Final = 1024
"""Datagrams remembered at most; the oldest is forgotten first, and its later fragments are dropped."""
LONGEST_LIST: Final = 128
"""Fragments of one datagram at most."""
LIFETIME_S: Final = {4: 30, 6: 60}
"""Seconds that a datagram may take (Linux, ipfrag_time and ip6frag_time)."""

_Key: TypeAlias = tuple[str, tuple[int, ...], int, int, int, int, int]


@dataclass(slots=True)
class Fate:
    """What was decided on a datagram by its first fragment."""

    action: Action
    rule: str
    connection: Connection | None = None
    direction: int = 0
    sequence: int = 0
    """TCP sequence number of the first byte of the datagram, its header counted in."""
    expires_s: float = 0
    seen: list[tuple[int, int]] = field(default_factory=list)
    """Where fragments began and ended."""
    end: int | None = None
    """Where the last one ends, once it is known."""


class Fragments:
    """Datagrams that are on their way in pieces."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._fates: OrderedDict[_Key, Fate] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fates)

    def begins(self, packet: Frame, side: str, now_s: float) -> bool:
        """Whether the first fragment `packet` begins a datagram that is not on its way already."""
        known = self._fates.get(_key(packet, side))
        return known is None or known.expires_s <= now_s

    def decide(self, packet: Frame, side: str, now_s: float, fate: Fate) -> None:
        """Remember the decision on a first fragment."""
        if len(self._fates) >= self._limit:
            self._fates.popitem(last=False)
        fate.expires_s = now_s + LIFETIME_S[packet.version]
        fate.seen.append((0, packet.end - packet.transport))
        self._fates[_key(packet, side)] = fate

    def follow(self, packet: Frame, side: str, now_s: float) -> Fate | None:
        """The fate of a later fragment; None: it is to be dropped."""
        key = _key(packet, side)
        fate = self._fates.get(key)
        if fate is None or fate.expires_s <= now_s:
            self._fates.pop(key, None)
            return None
        start = packet.fragment_offset
        stop = start + packet.end - packet.transport
        if (start, stop) in fate.seen:
            return None  # a duplicate
        overlaps = any(start < high and low < stop for low, high in fate.seen)
        beyond = fate.end is not None and (stop > fate.end or not packet.more_fragments)
        if overlaps or beyond or len(fate.seen) >= LONGEST_LIST:
            fate.action = Action.DROP
            return None
        fate.seen.append((start, stop))
        if not packet.more_fragments:
            fate.end = stop
        if fate.end is not None and sum(high - low for low, high in fate.seen) == fate.end:
            del self._fates[key]
        return fate


def _key(packet: Frame, side: str) -> _Key:
    protocol = packet.protocol if packet.version == 4 else 0
    return (
        side,
        packet.vlans,
        packet.version,
        protocol,
        packet.source,
        packet.destination,
        packet.fragment_id,
    )
