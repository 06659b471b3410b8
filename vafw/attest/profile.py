"""Which events a launch log may hold: what must be there once, what may be, and what must not.

The order is nobody's business but the replay's: it differs between SINIT families. Which events there are is this
program's: a log with an event less says nothing of a component, and one with an event more says something that no
reference value can be held against. One profile for each way of launching, chosen by the root of trust that the
evidence names; a machine that names another than its own gains nothing, as the digests must be accepted ones all the
same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from vafw.attest.evidence import RootOfTrust
from vafw.tcg.eventlog import Event
from vafw.tcg.events import PCR_MAPPING_INDEX, EventType, event_name

VMM_PCR: Final = 19
"""What the VMM extends itself, at locality 2."""

Kind: TypeAlias = "tuple[int, int]"
"""PCR and type of an event."""
_LABELLED: Final[Kind] = (VMM_PCR, EventType.EV_IPL)
"""The one kind that may be there more than once: its label says what each speaks of."""
_COMPONENTS: Final = {EventType.TXT_HASH_START: "sinit", EventType.TXT_MLE_HASH: "vmm"}


@dataclass(frozen=True, slots=True)
class EventProfile:
    """The events that one way of launching writes."""

    required: frozenset[Kind]
    """Those that must be there once."""
    optional: frozenset[Kind] = frozenset()
    """Those that may be there once."""

    def is_known(self, event: Event) -> bool:
        """Whether a launch writes events of this type into this PCR."""
        kind = (event.pcr, event.event_type)
        return kind in self.required or kind in self.optional or kind == _LABELLED

    def repeated(self, events: Sequence[Event]) -> int | None:
        """The position of the first event that must not be there a second time."""
        seen: set[Kind] = set()
        for position, event in enumerate(events):
            kind = (event.pcr, event.event_type)
            if kind in seen:
                return position
            if kind != _LABELLED:
                seen.add(kind)
        return None

    def missing(self, events: Sequence[Event]) -> tuple[str, str] | None:
        """The component of which the log says nothing, and the event that should; None where all are there."""
        present = Counter((event.pcr, event.event_type) for event in events)
        for pcr, event_type in sorted(self.required - present.keys()):
            return _COMPONENTS.get(EventType(event_type), "log"), f"PCR {pcr} {event_name(event_type)}"
        return None


TXT: Final = EventProfile(
    required=frozenset(
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
    ),
    optional=frozenset({(17, EventType.TXT_LCP_DETAILS_HASH), (18, EventType.TXT_LCP_AUTHORITIES_HASH)}),
)
"""GETSEC[SENTER] with a SINIT without an SMI transfer monitor, modelled or real; the optional ones are there where the
launch control policy has a data file. Source: Intel TXT Software Development Guide, "PCR Usage", details and
authorities mapping."""
SOFTWARE_LAUNCH: Final = EventProfile(
    required=frozenset({(17, EventType.TXT_HASH_START), (18, EventType.TXT_MLE_HASH)})
)
"""A launcher that does the hash sequence itself and measures what runs the VMs; it has no policy and no authorities."""


def profile_of(root_of_trust: RootOfTrust) -> EventProfile:
    """The profile by which evidence of a root of trust is appraised: TXT's for whatever is not known to be another."""
    return SOFTWARE_LAUNCH if root_of_trust is RootOfTrust.SOFTWARE_LAUNCH else TXT
