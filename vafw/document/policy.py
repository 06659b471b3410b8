"""The policy: what traffic may pass, who may own which device, what a launch must prove, who may configure what."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from vafw.document.model import (
    DocumentModel,
    Duration,
    Head,
    Name,
    Network,
    as_list,
    exactly_one,
    one_required,
    refusal,
    written,
)

_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def parse_ports(value: object) -> str | int:
    """Take a port or a range from low to high, within 1 to 65535."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    found = _PORTS.fullmatch(text)
    if not found:
        wanted = "must be a port or a range of ports, such as 443 or 8000-8080"
        raise refusal("VAFW-D015", f"{wanted}, not {written(value)}")
    low, high = int(found[1]), int(found[2] or found[1])
    if not (1 <= low <= 65535 and 1 <= high <= 65535):
        raise refusal("VAFW-D015", f"must lie within 1 and 65535, and {text} does not")
    if low > high:
        hint = f"did you mean {high}-{low}?"
        raise refusal("VAFW-D015", f"must go from the lower port to the higher, not {text}", hint)
    return value if isinstance(value, int) else text


ZoneNames = Annotated[tuple[Name, ...], BeforeValidator(as_list, json_schema_input_type=Name | tuple[Name, ...])]
"""One zone or several: ``user-os``, an appliance, ``any``, ``internet``, ``rfc1918``, or one of the policy's own."""
ServiceNames = Annotated[tuple[Name, ...], BeforeValidator(as_list, json_schema_input_type=Name | tuple[Name, ...])]
"""One service or several: from the shipped list (``https``, ``dns``, ``ping``) or the policy's own."""
PortRange = Annotated[
    str | int, PlainValidator(parse_ports, json_schema_input_type=str | Annotated[int, Field(ge=1, le=65535)])
]
"""A port such as ``443``, or a range such as ``8000-8080``."""
PortRanges = Annotated[
    tuple[PortRange, ...], BeforeValidator(as_list, json_schema_input_type=PortRange | tuple[PortRange, ...])
]
IcmpType = Annotated[int, Field(ge=0, le=255)]
IcmpTypes = Annotated[
    tuple[IcmpType, ...], BeforeValidator(as_list, json_schema_input_type=IcmpType | tuple[IcmpType, ...])
]
ActionName = Literal["accept", "drop", "reject"]
StateName = Literal["new", "established", "related", "invalid"]


class ServiceDefinition(DocumentModel):
    """A service of the policy's own."""

    protocol: Literal["tcp", "udp", "icmp", "icmpv6"]
    """The IP protocol."""
    ports: PortRanges = ()
    """Destination ports and ranges: ``443`` or ``8000-8080``."""
    types: IcmpTypes = ()
    """ICMP types, where the protocol is icmp or icmpv6."""

    @model_validator(mode="after")
    def _fits_protocol(self) -> Self:
        icmp = self.protocol in ("icmp", "icmpv6")
        if icmp and self.ports:
            raise refusal(
                "VAFW-D021", f"must have no ports: {self.protocol} has none", "write `types:` with ICMP types instead"
            )
        if not icmp and self.types:
            raise refusal("VAFW-D021", f"must have no types: {self.protocol} has none", "write `ports:` instead")
        return self


class TrafficRule(DocumentModel):
    """One rule; the first whose every field matches decides."""

    name: Name
    """The rule's name: what logs and reports call it."""
    from_: ZoneNames = Field(default=("any",), alias="from")
    """Where the connection comes from."""
    to: ZoneNames = ("any",)
    """Where it goes."""
    service: ServiceNames = ()
    """What it is; every service where none is named."""
    action: ActionName
    """accept, drop (silently) or reject (with an ICMP error or a TCP reset)."""
    log: bool = False
    """Whether each packet it decides is logged."""


class PacketPattern(DocumentModel):
    """A set of packets that a proof speaks of."""

    from_: ZoneNames = Field(default=("any",), alias="from")
    """Where the packet comes from."""
    to: ZoneNames = ("any",)
    """Where it goes."""
    service: ServiceNames = ()
    """What it is; every service where none is named."""
    state: StateName = "new"
    """Its state for the connection tracker."""


class ProveClause(DocumentModel):
    """What holds for every packet of a pattern, or `vafw check` shows one for which it does not."""

    never: PacketPattern | None = None
    """No packet of the pattern passes."""
    always: PacketPattern | None = None
    """Every packet of the pattern passes."""

    model_config = one_required("never", "always")
    _either = model_validator(mode="after")(exactly_one("never", "always"))


class TrafficPolicy(DocumentModel):
    """What may pass along the path."""

    default: Literal["drop", "reject"]
    """What happens to a packet that no rule matches."""
    zones: dict[Name, tuple[Network, ...]] = Field(default_factory=dict)
    """Zones of the policy's own: names for sets of networks."""
    services: dict[Name, ServiceDefinition] = Field(default_factory=dict)
    """Services of the policy's own."""
    rules: tuple[TrafficRule, ...] = ()
    """The rules, in order; packets of connections that a rule accepted pass before any rule is asked."""
    prove: tuple[ProveClause, ...] = ()
    """What must hold for every packet."""


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

    require: Literal["measured"] = "measured"
    """A launch measured by TXT and attested from the TPM."""
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
