"""Reference values: the measurements that a verifier accepts (RFC 9334, "Reference Values")."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vafw.document.model import Day, DocumentModel, Head, Name, Sha256

FirmwareVersion = Annotated[int, Field(ge=0, lt=1 << 64)]
"""TPM2_PT_FIRMWARE_VERSION_1 and _2 as one number of 64 bits."""


class AcceptedDigest(DocumentModel):
    """One accepted measurement of a component."""

    sha256: Sha256
    """The digest."""
    note: str = ""
    """What it is: a version, a build."""
    source: str = ""
    """Where it comes from: who computed it, out of what."""
    from_: Day | None = Field(default=None, alias="from")
    """The first day on which it is accepted, in UTC."""
    until: Day | None = None
    """The last day on which it is accepted, in UTC."""
    superseded: bool = False
    """An old one that is still accepted; whoever runs it is warned, and a policy may refuse it."""
    revoked: str = ""
    """Why it is accepted no more. Kept here, so that whoever meets it is told so."""


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
    tpm_firmware: tuple[FirmwareVersion, ...] = ()
    """Accepted firmware versions of the TPM; where none is named, it must stay the one that was first seen."""
