"""Which sites may be asked for: the decision that Squid makes from the text which `vafw policy compile` writes for it.

    port other than 80 and 443 ─▶ no     CONNECT to other than 443 ─▶ no     `block` ─▶ no     not of `clients` ─▶ no
                                                                             `allow`, or no such list ─▶ yes    else no

A host that is written as an address matches no name of a list. Squid would look its name up and ask again; here nothing
that somebody else says about an address opens it, so with an `allow` list it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, TypeAlias, final

from vafw.traffic.host.stack import Address
from vafw.traffic.host_name import name_pattern

Network: TypeAlias = "IPv4Network | IPv6Network"

WEB_PORTS: Final = (80, 443)
TUNNEL_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Site:
    """What is asked for, as far as the decision goes."""

    host: str | Address
    """A name in lower case without a last full stop, or an address."""
    port: int
    is_tunnel: bool = False
    """Whether it is asked for by CONNECT."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if not isinstance(self.host, str) and self.host.version == 6 else str(self.host)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a site may be asked for, and the rule that says so."""

    allowed: bool
    rule: str


@final
class Sites:
    """A list of sites: names, and ``*.example.com`` for that name and what is below it, Squid's ``.example.com``."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """ValueError where one is no name."""
        self._patterns = frozenset(map(name_pattern, patterns))

    def __len__(self) -> int:
        return len(self._patterns)

    @property
    def first(self) -> str | None:
        """A name that is on the list; None where there is none."""
        return min(self._patterns).removeprefix("*.") if self._patterns else None

    def matching(self, host: str | Address) -> str | None:
        """The entry that means the host: itself, or the nearest name above it."""
        if not isinstance(host, str):
            return None
        if host in self._patterns:
            return host
        rest = host
        while rest:
            if f"*.{rest}" in self._patterns:
                return f"*.{rest}"
            _, _, rest = rest.partition(".")
        return None


@final
class Rules:
    """A proxy's section."""

    def __init__(self, allow: Sites, block: Sites, clients: tuple[Network, ...]) -> None:
        """Nobody may ask where there are no `clients`; everything may be asked for where `allow` is empty."""
        self.allow = allow
        self.block = block
        self.clients = clients

    def judge(self, site: Site, client: Address) -> Decision:
        """Whether the client may ask for the site."""
        if site.port not in WEB_PORTS:
            return Decision(False, "the port is not of the web")
        if site.is_tunnel and site.port != TUNNEL_PORT:
            return Decision(False, f"a tunnel must lead to port {TUNNEL_PORT}")
        if (entry := self.block.matching(site.host)) is not None:
            return Decision(False, f"block {entry}")
        if not any(client in each for each in self.clients):
            return Decision(False, "not a client")
        if not len(self.allow):
            return Decision(True, "allow all")
        entry = self.allow.matching(site.host)
        return Decision(False, "not in allow") if entry is None else Decision(True, f"allow {entry}")
