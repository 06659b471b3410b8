"""Reference Values (RFC 9334): the measurements that a verifier accepts, as the appraisal uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AcceptedValue:
    """One accepted SHA-256 measurement of a component."""

    digest: bytes
    """32 bytes."""
    note: str = ""
    """What it is: a version, a build."""
    source: str = ""
    """Where it comes from: who computed it, out of what (provenance)."""
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    """When it is accepted; None sets no bound."""
    superseded: bool = False
    """An old one that is still accepted: whoever runs it is warned."""
    revoked: str = ""
    """Why it is accepted no more; empty for one that is."""

    def problem(self, now: datetime) -> str:
        """Why it is not accepted at this time, to end a sentence with; empty where it is."""
        if self.revoked:
            return f"was revoked: {self.revoked}"
        if self.valid_from is not None and now < self.valid_from:
            return f"is accepted from {self.valid_from:%Y-%m-%d} on, and not yet"
        if self.valid_until is not None and now > self.valid_until:
            return f"was accepted until {self.valid_until:%Y-%m-%d}, and is no more"
        return ""


@dataclass(frozen=True, slots=True)
class ReferenceValues:
    """Accepted measurements by component; a component that is not named is not accepted."""

    name: str
    sinit: tuple[AcceptedValue, ...]
    """Digest over the signed parts of the SINIT module (the ACM's header up to the key, and its user area)."""
    vmm: tuple[AcceptedValue, ...]
    """MLE hashes."""
    images: Mapping[str, tuple[AcceptedValue, ...]]
    """Image digests, by image name."""
    tpm_firmware: tuple[int, ...] = ()
    """Accepted firmware versions of TPMs; empty accepts whichever a machine was first seen with."""
