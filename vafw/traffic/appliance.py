"""What the program of a packet appliance is: a function from frames to frames, with nothing else in reach.

An appliance never sees a socket, a file or a clock. Its platform hands it each frame with the port it came in by and
the time, and sends on what it returns. The same program therefore runs inside a modelled VM, inside a real guest and in
a test. A frame that is neither sent on nor answered is dropped; the verdict says by whom and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vafw.trace import Value

OUTSIDE = "outside"
"""The port that faces the wire."""
INSIDE = "inside"
"""The port that faces the user."""


def uplink_port(number: int) -> str:
    """The port of a router's way to the wire, counted from 0: ``outside``, ``outside-2``, ``outside-3``."""
    return OUTSIDE if not number else f"{OUTSIDE}-{number + 1}"


def opposite(port: str) -> str:
    """The other end of an inline appliance."""
    return INSIDE if port == OUTSIDE else OUTSIDE


class Outcome(StrEnum):
    """What became of a frame."""

    PASSED = "passed"
    DROPPED = "dropped"
    REJECTED = "rejected"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one frame."""

    outcome: Outcome
    rule: str
    """The rule that decided, or a reason in parentheses such as ``(established)`` or ``(malformed)``."""
    emit: tuple[tuple[str, bytes], ...] = ()
    """Frames to send, each with the port it leaves by; a passed frame is in it, unchanged."""
    log: str = ""
    """A line for the appliance's log; empty where nothing is to be logged."""


class PacketAppliance(Protocol):
    """The program of an appliance. Its module offers it as ``create(config) -> PacketAppliance``."""

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Decide on one Ethernet frame (no FCS) that came in by `port` at `now_s` seconds."""
        ...

    def probe(self) -> tuple[bool, str]:
        """Whether it can do its work, and one sentence that says what was probed or what is wrong."""
        ...

    def report(self) -> Mapping[str, Value]:
        """Counters, flows and whatever else a person wants to see, as plain JSON."""
        ...
