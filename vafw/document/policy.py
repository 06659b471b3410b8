"""The policy: what traffic may pass, who may own which device, what a launch must prove, who may configure what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vafw.document.model import DocumentModel, Duration, Head, Name, exactly_one, one_required
from vafw.document.traffic import (
    PacketPattern,
    PortForwarding,
    ProveClause,
    ServiceDefinition,
    TrafficPolicy,
    TrafficRule,
    Translation,
)

__all__ = [
    "Policy", "TrafficPolicy", "TrafficRule", "ServiceDefinition", "Translation", "PortForwarding", "ProveClause",
    "PacketPattern", "DeviceRule", "DeviceNever", "LaunchPolicy", "ManagementPolicy",
]  # fmt: skip


class DeviceNever(DocumentModel):
    """An assignment that must not be."""

    assign: Literal["network", "display", "storage", "usb", "audio", "other"]
    """The class of device."""
    to: Name
    """The VM it must not belong to: ``user-os`` or an appliance."""


class DeviceRule(DocumentModel):
    """A rule about assignment: exactly one key."""

    never: DeviceNever | None = None
    """An assignment that must not be."""
    require: Literal["dma-remapping", "interrupt-remapping"] | None = None
    """Hardware without which nothing is assigned."""

    model_config = one_required("never", "require")
    _either = model_validator(mode="after")(exactly_one("never", "require"))


class LaunchPolicy(DocumentModel):
    """What must be proven before anything starts."""

    require: Literal["measured", "txt"] = "measured"
    """A launch that was measured and attested from the TPM: by whatever root of trust, or by TXT and nothing else."""
    old_components: Literal["refuse", "accept"] = "refuse"
    """Whether a component runs whose reference value is superseded."""
    re_attest: Duration | None = None
    """How often the machine is attested again while it runs."""
    on_failure: Literal["quarantine", "stop", "alert"] = "quarantine"
    """What happens when attestation fails later."""


class ManagementPolicy(DocumentModel):
    """Who may configure what over the network."""

    may_configure: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """Appliance, then the groups of people who may configure it; whoever is not named may not."""
    signatures: int = Field(default=1, ge=1, le=16)
    """How many signatures a configuration needs."""


class Policy(Head):
    """What may happen, and what must never."""

    kind: Literal["policy"]
    """The kind of document."""
    traffic: TrafficPolicy
    """What may pass along the path."""
    devices: tuple[DeviceRule, ...] = ()
    """Who may own which device."""
    launch: LaunchPolicy = LaunchPolicy()
    """What must be proven before anything starts."""
    management: ManagementPolicy = ManagementPolicy()
    """Who may configure what."""
