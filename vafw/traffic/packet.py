"""A packet as rules see it, and the packets that a service means: protocol, destination port, ICMP type.

Apart from the rules, which are made of these; nothing here knows of zones or actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vafw.trace import Value
from vafw.traffic import config
from vafw.traffic.reason import State

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
"""Protocol numbers (IANA, "Assigned Internet Protocol Numbers")."""

PROTOCOL_NAMES: Final = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6"}

UNTAGGED: Final = 0
"""What stands for "no VLAN tag": the VLAN id that 802.1Q keeps for frames that belong to no VLAN."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as rules see it: after the destination of a port forward was put in, before a source is masqueraded."""

    side: str
    """The port it came in by: ``inside`` or ``outside``."""
    version: int
    """4 or 6."""
    source: int
    """Source address."""
    destination: int
    """Destination address."""
    protocol: int
    """IP protocol number of the upper layer."""
    port: int = 0
    """Destination port of TCP and UDP, else 0."""
    icmp_type: int = 0
    """Type of ICMP and ICMPv6, else 0."""
    vlan: int = UNTAGGED
    """Id of the outermost VLAN tag; 0 where there is none."""
    state: State = State.NEW
    """What it is to the connections; rules see what is untracked as new."""

    def __str__(self) -> str:
        address = IPv4Address if self.version == 4 else IPv6Address
        name = PROTOCOL_NAMES.get(self.protocol, f"protocol {self.protocol}")
        if self.protocol in (TCP, UDP):
            name += f"/{self.port}"
        elif self.protocol in (ICMP, ICMPV6):
            name += f" type {self.icmp_type}"
        text = f"{name} from {address(self.source)} ({self.side}) to {address(self.destination)}"
        if self.vlan:
            text += f" on VLAN {self.vlan}"
        return text if self.state is State.NEW else f"{text}, {self.state}"


@dataclass(frozen=True, slots=True)
class ServiceMatch:
    """Packets of one protocol, narrowed to destination ports or ICMP types where some are given."""

    protocol: int
    """IP protocol number; ICMP is IPv4 only, ICMPv6 is IPv6 only."""
    ports: tuple[tuple[int, int], ...] = ()
    """Inclusive ranges of destination ports of TCP or UDP; empty: every port."""
    icmp_types: tuple[int, ...] = ()
    """ICMP types; empty: every type."""

    def matches(self, packet: Packet) -> bool:
        """Whether the packet is of this service."""
        if packet.protocol != self.protocol or not suits(self.protocol, packet.version):
            return False
        if self.ports and not any(low <= packet.port <= high for low, high in self.ports):
            return False
        return not self.icmp_types or packet.icmp_type in self.icmp_types

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads."""
        return {
            "protocol": self.protocol,
            "ports": [f"{low}-{high}" if low != high else f"{low}" for low, high in self.ports],
            "icmp-types": list(self.icmp_types),
        }

    @classmethod
    def from_config(cls, value: Value, where: str) -> ServiceMatch:
        """Read `to_config`'s JSON; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {"protocol", "ports", "icmp-types"})
        protocol = config.integer(entry.get("protocol"), f"{where}.protocol", 0, 255)
        ports = tuple(
            config.port_range(each, f"{where}.ports[{at}]")
            for at, each in enumerate(config.sequence(entry.get("ports", []), f"{where}.ports"))
        )
        types = tuple(
            config.integer(each, f"{where}.icmp-types[{at}]", 0, 255)
            for at, each in enumerate(config.sequence(entry.get("icmp-types", []), f"{where}.icmp-types"))
        )
        if ports and protocol not in (TCP, UDP):
            raise ValueError(f"{where}.ports must be empty for protocol {protocol}: only TCP and UDP have ports")
        if types and protocol not in (ICMP, ICMPV6):
            raise ValueError(f"{where}.icmp-types must be empty for protocol {protocol}: only ICMP has types")
        return cls(protocol, ports, types)


def suits(protocol: int, version: int) -> bool:
    """Whether the protocol belongs to the IP version: ICMP to IPv4 alone, ICMPv6 to IPv6 alone, others to both."""
    return protocol != (ICMPV6 if version == 4 else ICMP)
