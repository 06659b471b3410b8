"""The policy: what traffic may pass, who may own which device, what a launch must prove, who may configure what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from vafw.document.model import (
    DocumentModel,
    Duration,
    Head,
    Name,
    exactly_one,
    one_required,
    refusal,
    written,
)
from vafw.document.traffic import (
    PacketPattern,
    PortForwarding,
    ProveClause,
    ServiceDefinition,
    TrafficPolicy,
    TrafficRule,
    Translation,
)
from vafw.openssh.public_key import ALGORITHM, NoPublicKey, PublicKey

__all__ = [
    "Policy", "TrafficPolicy", "TrafficRule", "ServiceDefinition", "Translation", "PortForwarding", "ProveClause",
    "PacketPattern", "DeviceRule", "DeviceNever", "LaunchPolicy", "ManagementPolicy", "Person",
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


def parse_key(value: object) -> str:
    """Read the line of an OpenSSH Ed25519 public key, comment and all; ValueError says what was expected."""
    wanted = f"must be the line of an OpenSSH Ed25519 public key, such as {ALGORITHM} AAAA... anna@desk"
    hint = "write what stands in ~/.ssh/id_ed25519.pub; ssh-keygen -t ed25519 makes one"
    if not isinstance(value, str):
        raise refusal("VAFW-D043", f"{wanted}, not {written(value)}", hint)
    try:
        PublicKey.parse(value)
    except NoPublicKey as error:
        raise refusal("VAFW-D043", f"{wanted}: {error}", hint) from error
    return value


SshKey = Annotated[
    str, PlainValidator(parse_key, json_schema_input_type=Annotated[str, Field(pattern=f"^{ALGORITHM} AAAA")])
]
"""The line of an Ed25519 public key, as OpenSSH writes it."""


class Person(DocumentModel):
    """Somebody who may sign configurations."""

    key: SshKey
    """Their public key: the line of `~/.ssh/id_ed25519.pub`, or of whatever Ed25519 key they sign with."""
    groups: tuple[Name, ...] = Field(min_length=1)
    """The groups that they are in, which `may-configure` names."""


class ManagementPolicy(DocumentModel):
    """Who may configure what over the network."""

    people: dict[Name, Person] = Field(default_factory=dict)
    """Who signs configurations; where nobody is declared, whoever reaches the run's socket may configure."""
    may_configure: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """Appliance, then the groups of people who may configure it; whoever is not named may not."""
    signatures: int = Field(default=1, ge=1, le=16)
    """How many different people, of the groups that may configure an appliance, must sign one change of it."""


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
