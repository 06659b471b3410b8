"""Reference values: the measurements that a verifier accepts (RFC 9334, "Reference Values")."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vafw.document.model import DocumentModel, Head, Name, Sha256


class AcceptedDigest(DocumentModel):
    """One accepted measurement of a component."""

    sha256: Sha256
    """The digest."""
    note: str = ""
    """Where it comes from: a version, a build."""


class ReferenceValuesDocument(Head):
    """Which VMM, SINIT module and images may run the topology; `vafw measure --write` writes it."""

    kind: Literal["reference-values"]
    """The kind of document."""
    sinit: tuple[AcceptedDigest, ...]
    """SINIT modules: digest over the signed parts of the authenticated code module."""
    vmm: tuple[AcceptedDigest, ...]
    """VMMs: the hash of the measured launched environment (MLE)."""
    images: dict[Name, tuple[AcceptedDigest, ...]] = Field(default_factory=dict)
    """Images of VMs, by the name of the image."""
