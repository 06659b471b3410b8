"""The life of a VM as one table; the driver, the drawing in the documents and the tests come from it.

defined ──start──▶ starting ──booted──▶ running ──healthy──▶ healthy ──stop──▶ stopped
                      │                    │  ◀──unhealthy──    │
                      └──────fail──────────┴───────fail─────────┴──▶ failed ──start──▶ starting
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from vafw.errors import VafwError


class VmPhase(StrEnum):
    """Where a VM stands in its life."""

    DEFINED = "defined"
    STARTING = "starting"
    RUNNING = "running"
    HEALTHY = "healthy"
    FAILED = "failed"
    STOPPED = "stopped"


class VmEvent(StrEnum):
    """What can happen to a VM."""

    START = "start"
    BOOTED = "booted"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    FAIL = "fail"
    STOP = "stop"


TRANSITIONS: Final = MappingProxyType(
    {
        (VmPhase.DEFINED, VmEvent.START): VmPhase.STARTING,
        (VmPhase.DEFINED, VmEvent.STOP): VmPhase.STOPPED,
        (VmPhase.STARTING, VmEvent.BOOTED): VmPhase.RUNNING,
        (VmPhase.STARTING, VmEvent.FAIL): VmPhase.FAILED,
        (VmPhase.STARTING, VmEvent.STOP): VmPhase.STOPPED,
        (VmPhase.RUNNING, VmEvent.HEALTHY): VmPhase.HEALTHY,
        (VmPhase.RUNNING, VmEvent.FAIL): VmPhase.FAILED,
        (VmPhase.RUNNING, VmEvent.STOP): VmPhase.STOPPED,
        (VmPhase.HEALTHY, VmEvent.UNHEALTHY): VmPhase.RUNNING,
        (VmPhase.HEALTHY, VmEvent.FAIL): VmPhase.FAILED,
        (VmPhase.HEALTHY, VmEvent.STOP): VmPhase.STOPPED,
        (VmPhase.FAILED, VmEvent.START): VmPhase.STARTING,
        (VmPhase.FAILED, VmEvent.STOP): VmPhase.STOPPED,
        (VmPhase.STOPPED, VmEvent.START): VmPhase.STARTING,
    }
)


class IllegalTransition(VafwError):
    """An event that the phase has no answer to."""


def next_phase(phase: VmPhase, event: VmEvent) -> VmPhase:
    """The phase after `event`; IllegalTransition names the events that are legal."""
    after = TRANSITIONS.get((phase, event))
    if after is None:
        legal = ", ".join(sorted(each for (start, each) in TRANSITIONS if start is phase))
        raise IllegalTransition(f"a VM that is {phase} must be sent one of {legal}, not {event}")
    return after
