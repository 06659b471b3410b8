"""What a step of the traffic script is to whoever drives it: a generator that yields `Wait`s and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

from vafw.traffic.host.stack import Arrival

T = TypeVar("T")


class Outcome(StrEnum):
    """What came of a step."""

    OK = "ok"
    NXDOMAIN = "nxdomain"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNEXPECTED = "unexpected"
    """It was answered, but not with what the script expects."""
    NO_ROUTE = "no route"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a step waits for: one packet that it `wants`, until `until_s`."""

    until_s: float
    wants: Callable[[Arrival], bool]


Task: TypeAlias = "Generator[Wait, Arrival | None, T]"
"""Resumed with the packet, or with None when the time has come."""
