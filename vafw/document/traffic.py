"""The policy's traffic part: zones, services, rules in order, address translation, and what must hold for every packet.

Names are not looked up here: that a zone or a service exists is `plan.checks`' to say.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from vafw.document.model import (
    Address,
    DocumentModel,
    Name,
    as_list,
    exactly_one,
    one_required,
    parse_address,
    parse_network,
    refusal,
    text_of_form,
    written,
)

_HOST_FORM: Final = (
    r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
    r"\.(?:[a-z][a-z0-9-]{0,61}[a-z0-9]|[a-z])"
)
_HOST_NAME: Final = re.compile(_HOST_FORM)
_ADDRESS: Final = re.compile(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:.]*")
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


def parse_member(value: object) -> object:
    """Take what a zone may hold: a network, an address, a range of addresses, or a host name; gives its usual form."""
    wanted = "must be a network, an address, a range such as 10.0.0.1-10.0.0.9 or a host name such as *.example.com"
    if not isinstance(value, str):
        raise refusal("VAFW-D011", f"{wanted}, not {written(value)}")
    first, dash, last = value.partition("-")
    if _HOST_NAME.fullmatch(value) and not _ADDRESS.fullmatch(first):
        return value
    if not dash:
        return str(parse_network(value))
    low, high = parse_address(first.strip()), parse_address(last.strip())
    if ip_address(low).version != ip_address(high).version:
        raise refusal("VAFW-D024", f"must be a range within one family of addresses, not {written(value)}")
    if int(ip_address(low)) > int(ip_address(high)):
        raise refusal(
            "VAFW-D024",
            f"must go from the lower address to the higher, not {written(value)}",
            f"did you mean {high}-{low}?",
        )
    return f"{low}-{high}"


def parse_vlans(value: object) -> str | int:
    """Take a VLAN id or a range of them; ``untagged`` stands for frames without a tag."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text == "untagged":
        return text
    found = _PORTS.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= int(found[2] or found[1]) <= 4094:
        wanted = "must be a VLAN id from 1 to 4094, a range such as 10-19, or untagged"
        raise refusal("VAFW-D025", f"{wanted}, not {written(value)}")
    return value if isinstance(value, int) else text


ZoneName = Annotated[
    str,
    *text_of_form(
        rf"(?:[a-z][a-z0-9-]{{0,62}}|{_HOST_FORM})",
        "VAFW-D008",
        "must be the name of a zone, or a host name such as *.example.com",
        "zones are made of lower-case letters, digits and hyphens; a host name has a full stop in it",
    ),
]
"""A zone, or a host name that stands for what the DNS answers for it."""
ZoneNames = Annotated[
    tuple[ZoneName, ...], BeforeValidator(as_list, json_schema_input_type=ZoneName | tuple[ZoneName, ...])
]
"""One zone or several: ``user-os``, an appliance, ``any``, ``internet``, ``rfc1918``, one of the policy's own, or a
host name such as ``www.example.com`` or ``*.example.com``."""
ZoneMember = Annotated[
    str,
    BeforeValidator(parse_member, json_schema_input_type=str),
    Field(json_schema_extra={"examples": ["10.0.0.0/8", "10.0.0.1-10.0.0.9", "*.example.com"]}),
]
"""A network, an address, a range of addresses or a host name."""
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
VlanRange = Annotated[
    str | int, PlainValidator(parse_vlans, json_schema_input_type=str | Annotated[int, Field(ge=1, le=4094)])
]
"""A VLAN id, a range such as ``10-19``, or ``untagged``."""
VlanRanges = Annotated[
    tuple[VlanRange, ...], BeforeValidator(as_list, json_schema_input_type=VlanRange | tuple[VlanRange, ...])
]
LimitText = Annotated[
    str,
    *text_of_form(
        r"[1-9][0-9]{0,8}/(?:second|minute|hour|day|week)(?: burst [1-9][0-9]{0,5})?",
        "VAFW-D026",
        "must be a number of packets in a unit of time, such as 10/second or 3/minute burst 6",
        "the units are second, minute, hour, day and week",
    ),
]
"""So many packets in a unit of time: ``10/second``, ``3/minute burst 6``."""
TimeOfDay = Annotated[
    str,
    *text_of_form(
        r"(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)",
        "VAFW-D027",
        'must be a time of day in quotes, such as "08:30"',
        'write it in quotes, from "00:00" to "24:00", in UTC',
    ),
]
"""A time of day in UTC, in quotes."""
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ActionName = Literal["accept", "drop", "reject", "log", "mark"]
StateName = Literal["new", "established", "related", "invalid"]
StateNames = Annotated[
    tuple[StateName, ...], BeforeValidator(as_list, json_schema_input_type=StateName | tuple[StateName, ...])
]


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


class TimeWindow(DocumentModel):
    """When a rule is asked, in UTC; a computer whose clock was never set asks no rule with a window that accepts."""

    days: Annotated[tuple[Day, ...], BeforeValidator(as_list, json_schema_input_type=Day | tuple[Day, ...])] = (
        "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    )  # fmt: skip
    """Days of the week on which it begins."""
    from_: TimeOfDay = Field(default="00:00", alias="from")
    """When it begins."""
    until: TimeOfDay = "24:00"
    """When it ends; a time that is not after ``from`` is on the next day."""

    @model_validator(mode="after")
    def _begins(self) -> Self:
        if self.from_ == "24:00" or self.until == "00:00":
            raise refusal("VAFW-D027", 'must begin before "24:00" and end after "00:00"')
        return self


class TrafficRule(DocumentModel):
    """One rule; the first that decides is it: every field matches, and the action is accept, drop or reject."""

    name: Name
    """The rule's name: what logs and reports call it."""
    from_: ZoneNames = Field(default=("any",), alias="from")
    """Where the connection comes from."""
    to: ZoneNames = ("any",)
    """Where it goes."""
    service: ServiceNames = ()
    """What it is; every service where none is named."""
    action: ActionName
    """accept, drop (silently), reject (with an ICMP error or a TCP reset), or log or mark and ask the next rule."""
    log: bool = False
    """Whether each packet it matches is logged."""
    state: StateNames = ("new",)
    """What the packet is to the connections. Established and related packets that no rule decides on pass, invalid ones
    are dropped."""
    limit: LimitText | None = None
    """How many packets it matches in a time; what is more goes on to the next rule."""
    when: TimeWindow | None = None
    """When it is asked."""
    vlan: VlanRanges = ()
    """VLANs it is about, by the outermost tag; all, tagged or not, where none is named."""
    mark: int | None = Field(default=None, ge=1, le=0xFFFFFFFF)
    """With what a rule of action ``mark`` marks the connection."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.mark is None) == (self.action == "mark"):
            raise refusal("VAFW-D028", "must have a mark exactly where its action is mark")
        if "invalid" in self.state and self.action in ("accept", "reject"):
            hint = "drop or log them; nobody can say what such a packet belongs to"
            raise refusal("VAFW-D028", f"must not {self.action} invalid packets", hint)
        return self


class PortForwarding(DocumentModel):
    """Connections to ports of the firewall's own outer address, led to a host inside."""

    name: Name
    """What reports call it."""
    protocol: Literal["tcp", "udp"]
    """The IP protocol."""
    port: PortRange
    """Port or ports of the outer address."""
    to: Address
    """The host inside. A rule must still accept the connection, as one to this host."""
    to_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the host that the first port is led to; the same where none is given."""


class Translation(DocumentModel):
    """Address translation, by the firewall of the path that is a router."""

    masquerade: ZoneNames = ()
    """Zones inside whose packets leave with the firewall's outer address."""
    forward: tuple[PortForwarding, ...] = ()
    """Port forwards; the first that is meant wins."""


class PacketPattern(DocumentModel):
    """A set of packets that a proof speaks of."""

    from_: ZoneNames = Field(default=("any",), alias="from")
    """Where the packet comes from."""
    to: ZoneNames = ("any",)
    """Where it goes."""
    service: ServiceNames = ()
    """What it is; every service where none is named."""
    state: StateNames = ("new",)
    """What it is to the connection tracker: one state or several."""


class ViaPattern(PacketPattern):
    """Packets, and the appliance that they must not get past."""

    via: Name
    """The appliance of the path that every one of them passes through, whatever way it takes."""


class SamePattern(PacketPattern):
    """Packets, and another policy that must decide on them alike."""

    policy: str
    """File with the other policy, relative to the topology."""


class ProveClause(DocumentModel):
    """What holds for every packet of a pattern, or `vafw check` shows one for which it does not."""

    never: PacketPattern | None = None
    """No packet of the pattern passes."""
    always: PacketPattern | None = None
    """Every packet of the pattern passes."""
    only_via: ViaPattern | None = None
    """Whatever packet of the pattern gets through has passed this appliance."""
    same_as: SamePattern | None = None
    """Every packet of the pattern meets the same fate under the other policy."""

    model_config = one_required("never", "always", "only_via", "same_as")
    _either = model_validator(mode="after")(exactly_one("never", "always", "only_via", "same_as"))


class TrafficPolicy(DocumentModel):
    """What may pass along the path."""

    default: Literal["drop", "reject"]
    """What happens to a packet that no rule matches."""
    zones: dict[Name, tuple[ZoneMember, ...]] = Field(default_factory=dict)
    """Zones of the policy's own: names for networks, ranges of addresses and host names."""
    services: dict[Name, ServiceDefinition] = Field(default_factory=dict)
    """Services of the policy's own."""
    rules: tuple[TrafficRule, ...] = ()
    """The rules, in order; packets of connections that a rule accepted pass without a rule being asked, unless one
    speaks of their state."""
    nat: Translation = Translation()
    """Address translation."""
    offload: bool = False
    """Whether a Linux firewall that routes may pass established connections by its flow table, past the rules."""
    prove: tuple[ProveClause, ...] = ()
    """What must hold for every packet."""
