"""Reference Values (RFC 9334): the measurements that a verifier accepts, as the appraisal uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AcceptedValue:
    """One accepted SHA-256 measurement of a component."""

    digest: bytes
    """32 bytes."""
    note: str = ""
    """Where it comes from."""


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
