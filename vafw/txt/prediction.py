"""PCR 17 and 18 of the next launch, from its components and the event log of an earlier launch of the same machine.

Which events a SINIT extends, and in which order, differs between families, and some are the platform's own (BIOS ACM,
SMI transfer monitor, capabilities). So the log gives the order and the platform's part, and the components give theirs:

    log of a launch ── each event ──▶ measured from a component? ── no ──▶ as logged ──┐
                                            └── yes ──▶ the component's digest ────────┴──▶ replay ─▶ PCR 17, 18

Details-and-authorities mapping (TXT SDG, "PCR Usage"), SHA-256. tboot extends its own policy first and then its
modules, all into PCR 17 under one type: the first of those events stays as logged, the others are the modules in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vafw.tcg.algorithms import SHA256, digest, hash_sequence_value
from vafw.tcg.eventlog import Event
from vafw.tcg.events import EventType
from vafw.tcg.replay import replay
from vafw.txt.components import Components
from vafw.txt.lcp import PolicyType
from vafw.wire import FormatError

DETAILS_PCR: Final = 17
AUTHORITIES_PCR: Final = 18
NO_CONTROLS: Final = bytes(4)
"""EDX of GETSEC[SENTER], which follows the digest of SINIT."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """One event of PCR 17 or 18 in the next launch."""

    position: int
    """In the log, from 1."""
    event: Event
    """As it was logged."""
    component: str
    """The component that it measures; empty for the platform's own, which stay as they were."""
    value: bytes
    """The SHA-256 digest that it will have."""

    @property
    def diverges(self) -> bool:
        """Whether the log has another digest."""
        return self.value != self.event.digests[SHA256]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The next launch."""

    events: tuple[Foretold, ...]
    pcrs: Mapping[int, bytes]
    """SHA-256 PCR 17 and 18."""
    unmeasured: tuple[str, ...] = ()
    """Components that no event of the log measures."""

    @property
    def first_divergence(self) -> Foretold | None:
        """The first event that the log has otherwise; None where the log is of these components."""
        return next((each for each in self.events if each.diverges), None)


def predict(components: Components, log: Sequence[Event]) -> Prediction:
    """The launch of these components on the machine that wrote `log`; FormatError for a log of no launch."""
    starts = [event for event in log if event.event_type == EventType.TXT_HASH_START]
    if len(starts) != 1 or SHA256 not in starts[0].digests:
        raise FormatError("event log", "it must be of one launch, with SHA-256 digests")
    known = _digests(components)
    modules = [(f"module {each.name}", each.digest) for each in components.modules]
    told, tboots = [], 0
    for position, event in enumerate(log, 1):
        if event.pcr not in (DETAILS_PCR, AUTHORITIES_PCR):
            continue
        component, value = known.get((event.pcr, event.event_type), ("", event.digests[SHA256]))
        if event.pcr == DETAILS_PCR and event.event_type == EventType.TBOOT:
            if 1 <= tboots <= len(modules):
                component, value = modules[tboots - 1]
            tboots += 1
        told.append(Foretold(position, event, component, value))
    pcrs = replay(replace(each.event, digests={SHA256: each.value}) for each in told)[SHA256]
    wanted = [*dict.fromkeys(name for name, _ in known.values()), *(name for name, _ in modules)]
    measured = {each.component for each in told}
    return Prediction(tuple(told), pcrs, tuple(name for name in wanted if name not in measured))


def _digests(components: Components) -> dict[tuple[int, int], tuple[str, bytes]]:
    """Component and digest of each event that follows from a component, by PCR and type."""
    sinit = components.sinit
    found = {
        (DETAILS_PCR, EventType.TXT_HASH_START): ("sinit", hash_sequence_value(SHA256, sinit.digest + NO_CONTROLS)),
        (DETAILS_PCR, EventType.TXT_MLE_HASH): ("vmm", components.mle),
        (AUTHORITIES_PCR, EventType.TXT_SINIT_PUBKEY_HASH): (
            "sinit",
            digest(SHA256, sinit.modulus.to_bytes(256, "little")),
        ),
    }
    if components.policy is not None:
        control = ("lcp", digest(SHA256, components.policy.control.to_bytes(4, "little")))
        found |= {(pcr, EventType.TXT_LCP_CONTROL_HASH): control for pcr in (DETAILS_PCR, AUTHORITIES_PCR)}
        found[AUTHORITIES_PCR, EventType.TXT_LCP_AUTHORITIES_HASH] = (
            "lcp",
            digest(SHA256, components.policy.policy_hash),
        )
        if components.policy_data or components.policy.type is PolicyType.ANY:
            found[DETAILS_PCR, EventType.TXT_LCP_DETAILS_HASH] = ("lcp", digest(SHA256, components.policy_data))
    return {(pcr, int(kind)): value for (pcr, kind), value in found.items()}
