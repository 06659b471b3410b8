"""Which measurement of which component is accepted: reference values and expectation, as one question."""

from __future__ import annotations

from dataclasses import dataclass

from vafw.attest.expectation import Expectation
from vafw.attest.profile import TXT, EventProfile
from vafw.attest.reference import AcceptedValue, ReferenceValues
from vafw.tcg.algorithms import SHA256, hash_sequence_value
from vafw.tcg.eventlog import Event
from vafw.tcg.events import EventType

SINIT_DIGEST_BYTES = 32
NO_CONTROLS = bytes(4)
"""EDX of GETSEC[SENTER], of which no bit is defined: it follows the SINIT digest in the data of HASH_START."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Reference values, and what is about to run."""

    reference: ReferenceValues
    expectation: Expectation
    profile: EventProfile = TXT
    """Which events the log must hold."""

    @property
    def components(self) -> tuple[str, ...]:
        """Every component that a claim must be made about, in the order of the launch."""
        return ("sinit", "vmm", *self.expectation.subjects)

    def component_of(self, event: Event) -> str | None:
        """The component that an event measures; None for one that has no reference value."""
        if event.event_type == EventType.EV_IPL:
            return self.expectation.subject_of(event.data)
        components: dict[int, str] = {EventType.TXT_HASH_START: "sinit", EventType.TXT_MLE_HASH: "vmm"}
        return components.get(event.event_type)

    def measurements(self, component: str) -> tuple[bytes, ...]:
        """The accepted SHA-256 measurements of a component; none accepts nothing."""
        values = self.values(component)
        if values is not None:
            return tuple(value.digest for value in values)
        expected = self.expectation.digest_of(component)
        return () if expected is None else (expected,)

    def values(self, component: str) -> tuple[AcceptedValue, ...] | None:
        """The reference values of a component, those that are accepted no more among them; None for one without."""
        if component.startswith("image "):
            return self.reference.images.get(component.removeprefix("image "), ())
        return {"sinit": self.reference.sinit, "vmm": self.reference.vmm}.get(component)

    def value_of(self, component: str, digest: bytes) -> AcceptedValue | None:
        """The reference value that a measurement is held against."""
        return next((value for value in self.values(component) or () if value.digest == digest), None)

    def event_digests(self, event: Event) -> tuple[bytes, ...] | None:
        """The SHA-256 digests that an event may have; None where there is nothing to hold it against."""
        if (component := self.component_of(event)) is None:
            return None
        accepted = self.measurements(component)
        if component == "sinit":
            return tuple(hash_sequence_value(SHA256, digest + NO_CONTROLS) for digest in accepted)
        return accepted
