"""What a platform says of what runs on it: health, counters, and the outcome of isolation checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vafw.machine.lifecycle import VmPhase
from vafw.trace import Value


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of a VM's own probe."""

    healthy: bool
    reason: str
    """What was probed, or what is wrong; one sentence."""


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """Frames that crossed one link, and those that could not be delivered."""

    link: str
    frames_in: int = 0
    """Frames towards the user OS."""
    frames_out: int = 0
    """Frames towards the wire."""
    bytes_in: int = 0
    bytes_out: int = 0
    undelivered: int = 0


@dataclass(frozen=True, slots=True)
class VmReport:
    """One VM at one moment."""

    name: str
    phase: VmPhase
    health: Health | None = None
    vm_exits: Mapping[str, int] = field(default_factory=dict)
    """VM exits by exit reason."""
    appliance: Mapping[str, Value] = field(default_factory=dict)
    """What the program inside says of itself: counters by rule, flows, names blocked."""


@dataclass(frozen=True, slots=True)
class IsolationCheck:
    """One attempt to reach what must not be reachable, and what the hardware said."""

    name: str
    actor: str
    target: str
    blocked: bool
    evidence: str
    """The fault record or exit that blocked it, as the hardware reports it."""


@dataclass(frozen=True, slots=True)
class LaunchStep:
    """One step of power-on and launch, as the platform recorded it."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class PlatformReport:
    """Everything a platform says of itself at one moment."""

    vms: tuple[VmReport, ...] = ()
    links: tuple[LinkCounters, ...] = ()
    assignments: tuple[Mapping[str, Value], ...] = ()
    """One mapping a device: ``device``, ``address``, ``vm``, ``domain``, ``interrupt``."""
    hardware: Mapping[str, Value] | None = None
    """Counters of the hardware: translations, faults, VM exits."""
    wire: Mapping[str, Value] | None = None
    """Frames in and out at the wire, and what became of each."""
