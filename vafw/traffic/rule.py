"""What a firewall is told: rules in order, each a set of packets and an action, and a default.

Plain values that know how to match one packet and how to travel as JSON (`Ruleset.to_config`). The policy document
compiles to this; the engine, the proofs and the nftables text all start from it and must agree. Connection state
is not here: rules are asked about packets that open a connection, everything else is the engine's (`engine.py`).

Neighbour discovery and ARP are not traffic in this sense: no rule speaks of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vafw.trace import Value
from vafw.traffic import config
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite

__all__ = [
    "ICMP", "ICMPV6", "TCP", "UDP", "Action", "AddressSet", "Packet", "Rule", "Ruleset", "Selector", "ServiceMatch",
]  # fmt: skip

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
"""Protocol numbers (IANA, "Assigned Internet Protocol Numbers")."""

PROTOCOL_NAMES: Final = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6"}

_SIDES: Final = (INSIDE, OUTSIDE)


class Action(StrEnum):
    """What happens to a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that opens a connection, as rules see it."""

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

    def __str__(self) -> str:
        address = IPv4Address if self.version == 4 else IPv6Address
        name = PROTOCOL_NAMES.get(self.protocol, f"protocol {self.protocol}")
        if self.protocol in (TCP, UDP):
            name += f"/{self.port}"
        elif self.protocol in (ICMP, ICMPV6):
            name += f" type {self.icmp_type}"
        return f"{name} from {address(self.source)} ({self.side}) to {address(self.destination)}"


@dataclass(frozen=True, slots=True)
class Selector:
    """A zone as the firewall sees it."""

    side: str | None
    """``inside``: the packet comes from (as source) or goes to (as destination) the user's side; None: either."""
    addresses: AddressSet
    """Addresses of the zone."""

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads."""
        return {"side": self.side, "addresses": list(self.addresses.to_texts())}

    @classmethod
    def from_config(cls, value: Value, where: str) -> Selector:
        """Read `to_config`'s JSON; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {"side", "addresses"})
        side = entry.get("side")
        return cls(
            None if side is None else config.choice(side, f"{where}.side", _SIDES),
            config.addresses(entry.get("addresses"), f"{where}.addresses"),
        )


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


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: matches a packet when a source, a destination and a service of it do."""

    name: str
    """What logs and reports call it."""
    sources: tuple[Selector, ...]
    """Where the packet may come from."""
    destinations: tuple[Selector, ...]
    """Where it may go."""
    services: tuple[ServiceMatch, ...]
    """What it may be; empty: every service."""
    action: Action
    """What happens to a packet that matches."""
    log: bool = False
    """Whether each packet it decides is logged."""

    def matches(self, packet: Packet) -> bool:
        """Whether the rule decides on this packet."""
        goes_to = opposite(packet.side)
        return (
            any(
                each.side in (None, packet.side) and each.addresses.contains(packet.version, packet.source)
                for each in self.sources
            )
            and any(
                each.side in (None, goes_to) and each.addresses.contains(packet.version, packet.destination)
                for each in self.destinations
            )
            and (not self.services or any(each.matches(packet) for each in self.services))
        )

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads."""
        return {
            "name": self.name,
            "from": [each.to_config() for each in self.sources],
            "to": [each.to_config() for each in self.destinations],
            "services": [each.to_config() for each in self.services],
            "action": self.action.value,
            "log": self.log,
        }

    @classmethod
    def from_config(cls, value: Value, where: str) -> Rule:
        """Read `to_config`'s JSON; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {"name", "from", "to", "services", "action", "log"})

        def each(key: str) -> list[tuple[Value, str]]:
            items = config.sequence(entry.get(key, []), f"{where}.{key}")
            return [(item, f"{where}.{key}[{at}]") for at, item in enumerate(items)]

        return cls(
            config.text(entry.get("name"), f"{where}.name"),
            tuple(Selector.from_config(*item) for item in each("from")),
            tuple(Selector.from_config(*item) for item in each("to")),
            tuple(ServiceMatch.from_config(*item) for item in each("services")),
            Action(config.choice(entry.get("action"), f"{where}.action", tuple(Action))),
            config.boolean(entry.get("log", False), f"{where}.log"),
        )


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Rules in order: the first that matches decides, else the default."""

    rules: tuple[Rule, ...]
    """The rules."""
    default: Action
    """What happens to a packet that no rule matches; never accept."""
    inside: AddressSet | None = None
    """Source addresses the inside may use; a packet from the inside with another is dropped. None: any."""

    def __post_init__(self) -> None:
        """Refuse a default that lets through what nobody thought of."""
        if self.default is Action.ACCEPT:
            raise ValueError("the default must be drop or reject, not accept")

    def first_match(self, packet: Packet) -> Rule | None:
        """The rule that decides on the packet; None: the default does."""
        return next((rule for rule in self.rules if rule.matches(packet)), None)

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads; what the firewall's program gets as ``ruleset``."""
        return {
            "rules": [rule.to_config() for rule in self.rules],
            "default": self.default.value,
            "inside": None if self.inside is None else list(self.inside.to_texts()),
        }

    @classmethod
    def from_config(cls, value: Value, where: str = "ruleset") -> Ruleset:
        """Read `to_config`'s JSON; ValueError names the place, what must stand there and what does."""
        entry = config.mapping(value, where, {"rules", "default", "inside"})
        inside = entry.get("inside")
        refused = (Action.DROP.value, Action.REJECT.value)
        return cls(
            tuple(
                Rule.from_config(each, f"{where}.rules[{at}]")
                for at, each in enumerate(config.sequence(entry.get("rules"), f"{where}.rules"))
            ),
            Action(config.choice(entry.get("default"), f"{where}.default", refused)),
            None if inside is None else config.addresses(inside, f"{where}.inside"),
        )
