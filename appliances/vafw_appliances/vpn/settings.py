"""What the VPN is configured with: its peers, where each is reached, and which addresses lie behind it."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as InvalidBase64
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Self, TypeAlias

from vafw.trace import Value
from vafw.traffic import config as reader
from vafw.traffic.appliance import OUTSIDE
from vafw.traffic.routed import Host, Links

Network: TypeAlias = "IPv4Network | IPv6Network"
LONGEST_KEEPALIVE_S: Final = 65535


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a tunnel."""

    name: str
    public_key: bytes
    host: Host
    """Its address; it is heard from nowhere else."""
    port: int
    allowed: tuple[Network, ...]
    """Addresses behind it."""
    keepalive_s: float | None = None

    @classmethod
    def from_config(cls, value: Value, where: str) -> Self:
        """Read one peer; ValueError names the place in `where`."""
        entry = reader.mapping(value, where, ("name", "public-key", "endpoint", "allowed", "keepalive"))
        address, _, port = reader.text(entry.get("endpoint"), f"{where}.endpoint").rpartition(":")
        host = ip_address(address.strip("[]"))
        low, high = reader.port_range(port, f"{where}.endpoint")
        keepalive = entry.get("keepalive")
        if low != high:
            raise ValueError(f"{where}.endpoint must have one port, not {port!r}")
        return cls(
            reader.text(entry.get("name"), f"{where}.name"),
            _key(reader.text(entry.get("public-key"), f"{where}.public-key"), f"{where}.public-key"),
            (host.version, int(host)),
            low,
            tuple(map(ip_network, reader.texts(entry.get("allowed", []), f"{where}.allowed"))),
            None if keepalive is None else float(reader.integer(keepalive, where, 1, LONGEST_KEEPALIVE_S)),
        )

    def reach(self, host: Host) -> int:
        """The longest prefix of the networks behind it that hold the host; -1 where none does."""
        version, address = host
        return max((each.prefixlen for each in self.allowed if _holds(each, version, address)), default=-1)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    links: Links
    peers: tuple[Peer, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Value]) -> Self:
        """Read ``{"router": ..., "tunnel": {"peers": [...]}}``; ValueError says in a sentence what is wrong."""
        entry = reader.mapping(dict(config), "the VPN's config", ("router", "tunnel", "secret"))
        links = Links.from_config(entry.get("router"))
        tunnel = reader.mapping(entry.get("tunnel"), "tunnel", ("addresses", "peers"))
        given = reader.sequence(tunnel.get("peers", []), "tunnel.peers")
        peers = tuple(Peer.from_config(each, f"tunnel.peers[{at}]") for at, each in enumerate(given))
        if not peers:
            raise ValueError("tunnel.peers must name at least one peer")
        if len({(each.host, each.port) for each in peers}) < len(peers):
            raise ValueError("tunnel.peers must have an endpoint each, and two have the same")
        for each in peers:
            if links.side_of(each.host) != OUTSIDE or links.outside.source(each.host[0]) is None:
                raise ValueError(f"the endpoint of peer {each.name} must lie outside, where the VPN has an address")
        return cls(links, peers)

    def peer_for(self, host: Host) -> Peer | None:
        """The peer behind which a host lies: that of the longest prefix (WireGuard, section 2)."""
        best = max(self.peers, key=lambda each: each.reach(host))
        return best if best.reach(host) >= 0 else None


def _holds(network: Network, version: int, address: int) -> bool:
    low, high = int(network.network_address), int(network.broadcast_address)
    return network.version == version and low <= address <= high


def _key(text: str, where: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except InvalidBase64:
        key = b""
    if len(key) != 32:
        raise ValueError(f"{where} must be 32 bytes in base64, not {text!r}")
    return key
