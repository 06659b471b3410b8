"""What is about to run, as the relying party asks the verifier to find it in the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "vafw "
MEASURED_DOCUMENTS: Final = ("topology", "policy")
"""The documents that the VMM extends, by kind."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The plan, the documents and the images that the VMM must have extended into PCR 19, each once."""

    plan: bytes
    """SHA-256 of the plan's canonical JSON."""
    documents: Mapping[str, str]
    """SHA-256, hexadecimal, by kind; `MEASURED_DOCUMENTS` are looked at."""
    images: tuple[str, ...]
    """Names of the images in the plan."""
    plan_name: str | None = None
    """The plan's name as the log must carry it; None accepts any."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """What PCR 19 must speak of, as components are named in claims."""
        return ("plan", *MEASURED_DOCUMENTS, *(f"image {name}" for name in self.images))

    def subject_of(self, data: bytes) -> str | None:
        """The component that an EV_IPL event's data speaks of; None where it is no label of what is expected."""
        label = data.decode("utf-8", "replace")
        if label.startswith(f"{PREFIX}plan "):
            return "plan" if self.plan_name is None or label == self.label_of("plan") else None
        return next((each for each in self.subjects if each != "plan" and label == self.label_of(each)), None)

    def label_of(self, subject: str) -> str:
        """The data of the event that speaks of a component."""
        return f"{PREFIX}{subject}" + (f" {self.plan_name or 'NAME'}" if subject == "plan" else "")

    def digest_of(self, subject: str) -> bytes | None:
        """The SHA-256 that the plan and the documents must have; None for an image, or for a digest that is none."""
        if subject == "plan":
            return self.plan
        try:
            return bytes.fromhex(self.documents[subject]) if subject in MEASURED_DOCUMENTS else None
        except (KeyError, ValueError):
            return None
