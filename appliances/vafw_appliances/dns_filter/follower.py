"""Follows the names that rules speak of: remembers each query for one, and reads the addresses from its answer.

An answer counts only if it answers a query that was seen: the same server, client, port and id, and the same name. So a
host that sends answers nobody asked for tells the firewall nothing. Answers in fragments are not followed; a name whose
addresses come only that way stays unknown, and what depends on it stays closed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, TypeAlias

from vafw.traffic.dns import Question
from vafw.traffic.dns_answer import NamedAddress, addresses_in
from vafw.traffic.frame import Frame
from vafw.traffic.host_name import covers, name_pattern

MOST_QUERIES: Final = 1024
"""Queries remembered at most; the oldest is forgotten first."""
PATIENCE_S: Final = 30.0
"""Seconds after which an answer is too late to be believed."""

_Key: TypeAlias = tuple[int, int, int, int, int, int]


class Follower:
    """The queries for names that rules speak of."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns = tuple(map(name_pattern, patterns))
        self._asked: OrderedDict[_Key, tuple[str, float]] = OrderedDict()

    def asks(self, packet: Frame, question: Question, now_s: float) -> None:
        """Take note of a query that is passed on."""
        if not any(covers(pattern, question.name) for pattern in self.patterns):
            return
        client, server = packet.source, packet.destination
        key = (packet.version, packet.protocol, client, server, packet.source_port, question.identifier)
        self._asked[key] = question.name, now_s
        if len(self._asked) > MOST_QUERIES:
            self._asked.popitem(last=False)

    def answers(self, packet: Frame, message: bytes, now_s: float) -> tuple[NamedAddress, ...]:
        """The addresses that an answer gives for a name that was asked for."""
        if not self._asked or len(message) < 2:
            return ()
        identifier = int.from_bytes(message[:2], "big")
        client, server = packet.destination, packet.source
        key = (packet.version, packet.protocol, client, server, packet.destination_port, identifier)
        name, asked_s = self._asked.pop(key, ("", 0.0))
        return addresses_in(message, name) if name and now_s - asked_s <= PATIENCE_S else ()
