"""Sections of appliances that enforce something else than rules: name service, intrusion detection, VPN, proxy.

What a section means to a real program (Unbound, Suricata, WireGuard, Squid) is written by `vafw.plan.writers`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from vafw.document.model import (
    Address,
    DocumentModel,
    Duration,
    Interface,
    Name,
    Network,
    as_list,
    refusal,
    text_of_form,
)

LARGEST_PORT: Final = 65535
HostName = Annotated[
    str,
    *text_of_form(
        r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,62}",
        "VAFW-D008",
        "must be a host name in lower case, such as www.example.com or *.example.com",
    ),
]
"""A host name, or ``*.`` and a name for everything below it."""
HostNames = Annotated[
    tuple[HostName, ...], BeforeValidator(as_list, json_schema_input_type=HostName | tuple[HostName, ...])
]
Files = Annotated[tuple[str, ...], BeforeValidator(as_list, json_schema_input_type=str | tuple[str, ...])]
PublicKey = Annotated[
    str,
    *text_of_form(
        r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=",
        "VAFW-D041",
        "must be a WireGuard public key of 44 characters in base64",
        "`wg pubkey` prints it; the private key never stands in a document",
    ),
]
"""A Curve25519 public key in base64."""
Endpoint = Annotated[
    str,
    *text_of_form(
        r"(?:[0-9.]+|\[[0-9a-f:]+\]):[0-9]{1,5}",
        "VAFW-D042",
        "must be an address and a port, such as 198.51.100.7:51820 or [2001:db8::7]:51820",
        "a name would have to be resolved before the tunnel is up",
    ),
]
"""An address and a port."""


class DnsSection(DocumentModel):
    """A resolver that blocks names."""

    upstreams: tuple[Address, ...] = ()
    """Resolvers to ask; the root servers where none is named."""
    tls_name: HostName | None = None
    """The name in the upstreams' certificates; where given, they are asked over TLS."""
    dnssec: bool = True
    """Whether answers are validated."""
    block: Files = ()
    """Lists of names to block, in hosts, domain or RPZ form, relative to the topology."""
    allow: HostNames = ()
    """Names that pass whatever the lists say."""


class IdsSection(DocumentModel):
    """Intrusion detection."""

    rules: Files
    """Rule files in Suricata's language, relative to the topology."""
    on_match: Literal["alert", "drop"] = "alert"
    """What happens to a packet that a rule matches; an IDS beside the path can only raise an alert."""
    home: tuple[Network, ...] = ()
    """Networks that are ours; the user's where none is named."""


class VpnPeer(DocumentModel):
    """One WireGuard peer."""

    name: Name
    """What it is called."""
    public_key: PublicKey
    """Its public key."""
    endpoint: Endpoint
    """Where it is reached."""
    allowed: tuple[Network, ...]
    """Addresses behind it: what goes to these goes into the tunnel, and only these come out of it."""
    keepalive: Duration | None = None
    """How often an idle tunnel says that it is there."""


class VpnSection(DocumentModel):
    """A WireGuard tunnel."""

    addresses: tuple[Interface, ...]
    """Its own addresses in the tunnel."""
    peers: tuple[VpnPeer, ...]
    """The other ends."""
    key: Literal["kept", "fresh"] = "kept"
    """Whether its private key outlives a restart, made of a secret that the host keeps, or is made anew each time."""
    kill_switch: bool = True
    """Whether nothing is forwarded but through the tunnel, whether it is up or not."""

    @model_validator(mode="after")
    def _has_a_peer(self) -> Self:
        if not self.peers or not self.addresses:
            raise refusal("VAFW-D020", "must have at least one address and one peer")
        return self


class ProxySection(DocumentModel):
    """A forward proxy."""

    port: int = Field(default=3128, ge=1, le=LARGEST_PORT)
    """Where it listens."""
    allow: HostNames = ()
    """Sites that may be asked for; all where none is named. ``*.`` and a name means that name and everything below."""
    block: HostNames = ()
    """Sites that may not, whatever is allowed."""
    clients: tuple[Network, ...] = ()
    """Who may ask; the user where nobody is named."""
