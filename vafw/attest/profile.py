"""Which events a launch log may hold: what must be there once, what may be, and what must not.

The order is nobody's business but the replay's: it differs between SINIT families. Which events there are is this
program's: a log with an event less says nothing of a component, and one with an event more says something that no
reference value can be held against. Source of the sets: Intel TXT Software Development Guide, "PCR Usage", details and
authorities mapping, for a SINIT without an SMI transfer monitor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from vafw.tcg.eventlog import Event
from vafw.tcg.events import PCR_MAPPING_INDEX, EventType, event_name

VMM_PCR: Final = 19
"""What the VMM extends itself, at locality 2."""

REQUIRED: Final[frozenset[tuple[int, int]]] = frozenset(
    {
        (PCR_MAPPING_INDEX, EventType.TXT_PCR_MAPPING),
        (17, EventType.TXT_HASH_START),
        (17, EventType.TXT_BIOSAC_REG_DATA),
        (17, EventType.TXT_LCP_CONTROL_HASH),
        (17, EventType.TXT_MLE_HASH),
        (18, EventType.TXT_SINIT_PUBKEY_HASH),
        (18, EventType.TXT_LCP_CONTROL_HASH),
        (18, EventType.TXT_OSSINITDATA_CAP_HASH),
    }
)
"""PCR and type of each event that must be there once."""
OPTIONAL: Final[frozenset[tuple[int, int]]] = frozenset(
    {(17, EventType.TXT_LCP_DETAILS_HASH), (18, EventType.TXT_LCP_AUTHORITIES_HASH)}
)
"""Those that are there once where the launch control policy has a data file."""

_COMPONENTS: Final = {EventType.TXT_HASH_START: "sinit", EventType.TXT_MLE_HASH: "vmm"}


def is_known(event: Event) -> bool:
    """Whether a launch writes events of this type into this PCR."""
    kind = (event.pcr, event.event_type)
    return kind in REQUIRED or kind in OPTIONAL or kind == (VMM_PCR, EventType.EV_IPL)


def repeated(events: Sequence[Event]) -> int | None:
    """The position of the first event that must not be there a second time."""
    seen: set[tuple[int, int]] = set()
    for position, event in enumerate(events):
        kind = (event.pcr, event.event_type)
        if kind in seen:
            return position
        if kind != (VMM_PCR, EventType.EV_IPL):
            seen.add(kind)
    return None


def missing(events: Sequence[Event]) -> tuple[str, str] | None:
    """The component of which the log says nothing, and the event that should; None where all are there."""
    present = Counter((event.pcr, event.event_type) for event in events)
    for pcr, event_type in sorted(REQUIRED - present.keys()):
        return _COMPONENTS.get(EventType(event_type), "log"), f"PCR {pcr} {event_name(event_type)}"
    return None
