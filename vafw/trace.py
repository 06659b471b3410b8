"""The record of what happened: an append-only list of typed events, read by snapshots, logs and tests.

Not a bus: nobody reacts to a trace. Effects travel as return values; the trace only remembers them, in order, so
that a claim such as "not one VM started" can be asserted from what happened and not from what was printed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, final

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"


class EventKind(StrEnum):
    """Every kind of event, named subject first."""

    PLATFORM_POWERED_ON = "platform.powered-on"
    PLATFORM_POWERED_OFF = "platform.powered-off"
    PLATFORM_RESET = "platform.reset"
    ORPHAN_ENDED = "platform.orphan-ended"
    TPM_LOST = "tpm.lost"
    LAUNCH_STEP = "launch.step"
    LAUNCH_REFUSED = "launch.refused"
    TAMPERED = "tampered"
    MEASURED = "measured"
    QUOTED = "attest.quoted"
    APPRAISED = "attest.appraised"
    GATE_OPENED = "gate.opened"
    GATE_CLOSED = "gate.closed"
    DEVICE_ASSIGNED = "device.assigned"
    DEVICE_RELEASED = "device.released"
    LINK_UP = "link.up"
    LINK_DOWN = "link.down"
    VM_STARTED = "vm.started"
    VM_HEALTHY = "vm.healthy"
    VM_FAILED = "vm.failed"
    VM_STOPPED = "vm.stopped"
    DMA_FAULT = "vtd.dma-fault"
    INTERRUPT_FAULT = "vtd.interrupt-fault"
    EPT_VIOLATION = "ept.violation"
    ISOLATION_CHECKED = "isolation.checked"
    GUEST_LOG = "guest.log"
    CONFIG_COMMITTED = "config.committed"
    CONFIG_REPORTED = "config.reported"
    CONTROL_LOST = "control.lost"
    """An agent, the broker or the way to it ended; the machine runs on as it was."""
    CONTROL_BACK = "control.back"
    RUN_CLEARED = "run.cleared"
    """Something that an earlier run left behind when it was killed."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One thing that happened to one subject at one moment."""

    sequence: int
    """Position in the trace, from 0."""
    time_s: float
    """Seconds of the clock that the trace was given."""
    kind: EventKind
    subject: str
    """The VM, device or component it happened to."""
    detail: Mapping[str, Value]

    def to_json(self) -> dict[str, Value]:
        """The event as one JSON object."""
        return {
            "sequence": self.sequence,
            "time_s": round(self.time_s, 6),
            "kind": self.kind.value,
            "subject": self.subject,
            "detail": dict(self.detail),
        }


NOISY: Final = frozenset({EventKind.GUEST_LOG, EventKind.DMA_FAULT, EventKind.INTERRUPT_FAULT, EventKind.EPT_VIOLATION})
"""Kinds that whoever sits in a VM can cause as often as it likes."""
NOISY_AT_ONCE: Final = 10_000
NOISY_PER_SECOND: Final = 10
"""Events of each noisy kind that are kept: so many at once, so many a second in the long run; the rest is counted."""
KEPT: Final = 100_000
"""Events that a trace remembers; the oldest go first."""


@final
class Trace:
    """An append-only list of events, bounded against subjects that would fill memory or disk with them."""

    def __init__(self, now: Callable[[], float], keep: Callable[[TraceEvent], None] | None = None) -> None:
        """`now` stamps each event in seconds; `keep`, if given, sees each event once (a file, a progress tree)."""
        self._now = now
        self._keep = keep
        self._events: deque[TraceEvent] = deque(maxlen=KEPT)
        self._recorded = 0
        self._allowance: dict[EventKind, tuple[float, float]] = {}
        self.suppressed: Counter[EventKind] = Counter()
        """Noisy events that were counted and not kept."""

    def record(self, kind: EventKind, subject: str, **detail: Value) -> TraceEvent | None:
        """Append one event and return it; None where a noisy kind has used up its allowance."""
        now_s = self._now()
        if kind in NOISY and not self._allowed(kind, now_s):
            self.suppressed[kind] += 1
            return None
        event = TraceEvent(self._recorded, now_s, kind, subject, detail)
        self._recorded += 1
        self._events.append(event)
        if self._keep is not None:
            self._keep(event)
        return event

    def __iter__(self) -> Iterator[TraceEvent]:
        return iter(tuple(self._events))

    def __len__(self) -> int:
        return len(self._events)

    def of(self, *kinds: EventKind) -> tuple[TraceEvent, ...]:
        """The events of these kinds, in order."""
        return tuple(event for event in self._events if event.kind in kinds)

    def _allowed(self, kind: EventKind, now_s: float) -> bool:
        left, since_s = self._allowance.get(kind, (float(NOISY_AT_ONCE), now_s))
        left = min(NOISY_AT_ONCE, left + (now_s - since_s) * NOISY_PER_SECOND)
        self._allowance[kind] = (max(left - 1, 0.0) if left >= 1 else left, now_s)
        return left >= 1
