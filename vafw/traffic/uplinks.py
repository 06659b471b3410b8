"""Several ways to the wire: which of them a new connection leaves by, and which are up.

A router of the path may have a network card besides the one that the path begins with. A new connection leaves by

    the uplink whose network holds its destination, whether it is up or not
    else the first that is up and takes the connection's mark
    else the first that is up
    else the first of them all

each time among those that lead anywhere in the connection's IP version. From then on all its packets do, because the
far end knows it by the address that it left with; what came in by an uplink is answered by the same.

An uplink is up while a next hop of it answers: each is asked for its MAC address once a second, and one that has said
nothing for three is gone. That finds a cable that was pulled and a box that is off, and no fault further away. What
left by an uplink that went down is forgotten, so that the next packet of it begins anew by another one.

Pure: the time comes in, questions go out, and nothing here sends a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vafw.trace import Value
from vafw.traffic.appliance import uplink_port
from vafw.traffic.routed import Host, Link

ASK_EVERY_S: Final = 1.0
GONE_AFTER_S: Final = 3.5
"""Three questions without an answer, and time for the last one."""


@dataclass(slots=True)
class _Uplink:
    link: Link
    heard_s: float = 0.0
    up: bool = True
    changes: int = 0


class Uplinks:
    """The state of every uplink of one router."""

    def __init__(self, links: Sequence[Link]) -> None:
        """All count as up until `begin`, and until they have had time to answer after it."""
        self._uplinks = [_Uplink(link) for link in links]

    def begin(self, now_s: float) -> None:
        """From now on questions are asked; those that are up have until `GONE_AFTER_S` from now to answer."""
        for each in self._uplinks:
            each.heard_s = now_s

    def choose(self, host: Host, mark: int) -> int:
        """The number of the uplink that a new connection to `host` leaves by."""
        on_link = next((at for at, each in enumerate(self._uplinks) if each.link.holds(host)), None)
        if on_link is not None:
            return on_link
        leading = [at for at, each in enumerate(self._uplinks) if each.link.next_hop(host) is not None]
        up = [at for at in leading if self._uplinks[at].up]
        marked = [at for at in up if mark and mark in self._uplinks[at].link.marks]
        return next(iter((*marked, *up, *leading)), 0)

    def questions(self) -> Iterator[tuple[int, Host]]:
        """Whom to ask for a MAC address now: the number of the uplink, and a next hop of it."""
        for at, each in enumerate(self._uplinks):
            for gateway in each.link.gateways:
                yield at, gateway

    def heard(self, number: int, host: Host, now_s: float) -> bool:
        """A host said something of itself by that uplink; True where the uplink came up by that."""
        found = self._uplinks[number]
        if host not in found.link.gateways:
            return False
        found.heard_s = now_s
        came = not found.up
        found.up, found.changes = True, found.changes + came
        return came

    def gone(self, now_s: float) -> tuple[int, ...]:
        """The uplinks that went down since the last look; one without a next hop is never asked, and stays up."""
        lost = [
            at
            for at, each in enumerate(self._uplinks)
            if each.up and each.link.gateways and now_s - each.heard_s > GONE_AFTER_S
        ]
        for at in lost:
            self._uplinks[at].up = False
            self._uplinks[at].changes += 1
        return tuple(lost)

    def is_up(self, number: int) -> bool:
        """Whether that uplink is up."""
        return self._uplinks[number].up

    def report(self) -> list[Value]:
        """Each uplink with its port and whether it is up."""
        return [
            {"port": uplink_port(at), "up": each.up, "changes": each.changes} for at, each in enumerate(self._uplinks)
        ]
