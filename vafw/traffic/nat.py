"""Address translation: sources hidden behind the firewall's own address, ports of it led to a host inside.

Only a firewall in routed mode (`routed`) has addresses to translate to. The order is the kernel's, and the rules' too:

    port forward (destination) ─▶ rules, which see the host inside as it is ─▶ masquerade (source)

A packet that no rule accepts is not translated, and translation alone lets nothing in. To a proof: what comes from
outside to the firewall's own address at a forwarded port is a packet to `host`:`to_port`; what goes out from a
masqueraded source leaves with the firewall's outer address; all other packets leave as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, TypeVar

from vafw.trace import Value
from vafw.traffic import config
from vafw.traffic.address_set import AddressSet
from vafw.traffic.packet import PROTOCOL_NAMES, TCP, UDP

_PROTOCOLS: Final = {"tcp": TCP, "udp": UDP}
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PortForward:
    """Connections from outside to ports of the firewall's own outer address, led to a host inside."""

    name: str
    """What reports call it."""
    protocol: int
    """TCP or UDP."""
    ports: tuple[int, int]
    """Ports of the outer address, inclusive."""
    version: int
    """IP version of `host`; connections of the other version are not led anywhere."""
    host: int
    """Address of the host inside."""
    to_port: int
    """Port of the host that the lowest of `ports` is led to, the others in order behind it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be led anywhere."""
        low, high = self.ports
        if self.protocol not in (TCP, UDP):
            raise ValueError(f"a port forward must be of TCP or UDP, not of protocol {self.protocol}")
        if not 1 <= low <= high <= 0xFFFF or not 1 <= self.to_port <= 0xFFFF - (high - low):
            raise ValueError(f"ports of {self.name} must lie within 1 and 65535")

    def target(self, version: int, protocol: int, port: int) -> tuple[int, int] | None:
        """Address and port that a packet to this port of the outer address is led to; None where it is not meant."""
        low, high = self.ports
        if (version, protocol) != (self.version, self.protocol) or not low <= port <= high:
            return None
        return self.host, self.to_port + port - low

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads."""
        low, high = self.ports
        return {
            "name": self.name,
            "protocol": PROTOCOL_NAMES[self.protocol],
            "ports": f"{low}-{high}" if low != high else f"{low}",
            "host": str(ip_address(self.host.to_bytes(4 if self.version == 4 else 16, "big"))),
            "to-port": self.to_port,
        }

    @classmethod
    def from_config(cls, value: Value, where: str) -> PortForward:
        """Read `to_config`'s JSON; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {"name", "protocol", "ports", "host", "to-port"})
        try:
            host = ip_address(config.text(entry.get("host"), f"{where}.host"))
        except ValueError as error:
            raise ValueError(f"{where}.host must be an IP address, not {entry.get('host')!r}") from error
        return cls(
            config.text(entry.get("name"), f"{where}.name"),
            _PROTOCOLS[config.choice(entry.get("protocol"), f"{where}.protocol", tuple(_PROTOCOLS))],
            config.port_range(entry.get("ports"), f"{where}.ports"),
            host.version,
            int(host),
            config.integer(entry.get("to-port"), f"{where}.to-port", 1, 0xFFFF),
        )


@dataclass(frozen=True, slots=True)
class Nat:
    """All translation of a firewall."""

    masquerade: AddressSet = AddressSet((), ())  # noqa: RUF009  # a frozen value
    """Sources from the inside that leave with the firewall's outer address of their family."""
    forwards: tuple[PortForward, ...] = ()
    """Port forwards, the first that is meant wins."""

    def forwarded(self, version: int, protocol: int, port: int) -> tuple[int, int] | None:
        """Where a packet to this port of the outer address is led to; None: nowhere."""
        return next((to for each in self.forwards if (to := each.target(version, protocol, port))), None)

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads."""
        return {
            "masquerade": list(self.masquerade.to_texts()),
            "forwards": [each.to_config() for each in self.forwards],
        }

    @classmethod
    def from_config(cls, value: Value, where: str) -> Nat:
        """Read `to_config`'s JSON; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {"masquerade", "forwards"})
        return cls(
            config.addresses(entry.get("masquerade", []), f"{where}.masquerade"),
            _each(entry.get("forwards", []), f"{where}.forwards", PortForward.from_config),
        )


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """The addresses of a firewall in routed mode."""

    outer: Mapping[int, int]
    """The one outside that sources are hidden behind and ports are led from, by IP version; of the first uplink."""
    addresses: frozenset[tuple[int, int]]
    """IP version and address of all of them, on both sides: no connection of others ends there."""
    further: tuple[Mapping[int, int], ...] = ()
    """The same as `outer` of each uplink besides the first."""

    @property
    def outers(self) -> tuple[Mapping[int, int], ...]:
        """The outer addresses of every uplink, by its number."""
        return (self.outer, *self.further)


def _each(value: Value, where: str, read: Callable[[Value, str], Item]) -> tuple[Item, ...]:
    return tuple(read(each, f"{where}[{at}]") for at, each in enumerate(config.sequence(value, where)))
