"""What the proxy is configured with: the host that it is on the network, and its lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Final, Self

from vafw.trace import Value
from vafw.traffic import config as reader
from vafw.traffic.host.stack import Address, Interface
from vafw_appliances.proxy.decision import Rules, Sites

LARGEST_PORT: Final = 65535
_KEYS: Final = ("mac", "addresses", "gateway", "resolvers", "port", "allow", "block", "clients")


@dataclass(frozen=True, slots=True)
class Station:
    """The host that it is."""

    mac: bytes
    addresses: tuple[Interface, ...]
    gateways: tuple[Address, ...]
    resolvers: tuple[Address, ...]
    """Who is asked for names; the gateways where nobody else is."""
    port: int
    """Where clients reach it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    station: Station
    rules: Rules

    @classmethod
    def from_config(cls, config: Mapping[str, Value]) -> Self:
        """Read it; ValueError says in a sentence what is wrong."""
        entry = reader.mapping(dict(config), "the proxy's config", _KEYS)
        texts = {key: reader.texts(entry.get(key, []), key) for key in _KEYS if key not in ("mac", "port")}
        addresses = tuple(map(ip_interface, texts["addresses"]))
        if not addresses:
            raise ValueError("addresses must name at least one, as the proxy asks the web in its own name")
        gateways = tuple(map(ip_address, texts["gateway"]))
        station = Station(
            mac=_mac(entry.get("mac")),
            addresses=addresses,
            gateways=gateways,
            resolvers=tuple(map(ip_address, texts["resolvers"])) or gateways,
            port=reader.integer(entry.get("port"), "port", 1, LARGEST_PORT),
        )
        rules = Rules(Sites(texts["allow"]), Sites(texts["block"]), tuple(map(ip_network, texts["clients"])))
        return cls(station, rules)


def _mac(value: Value) -> bytes:
    mac = bytes.fromhex(reader.text(value, "mac").replace(":", ""))
    if len(mac) != 6 or mac[0] & 1:
        raise ValueError(f"mac must be the MAC address of one card, not {value!r}")
    return mac
