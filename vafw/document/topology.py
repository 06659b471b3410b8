"""The topology: which VMs there are, what is assigned to them, and the only way between the wire and the user."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from vafw.document.model import Address, DocumentModel, Head, Interface, Name, Size, as_json, text_of_form
from vafw.document.sections import DnsSection, IdsSection, ProxySection, VpnSection

PortName = Annotated[
    str,
    *text_of_form(
        r"[a-z][a-z0-9-]{0,62}\.[a-z][a-z0-9-]{0,62}",
        "VAFW-D008",
        "must be a VM and one of its ports with a full stop between, such as ids.mirror",
    ),
]
"""A VM and one of its ports: ``ids.mirror``."""


class UserOs(DocumentModel):
    """The VM that a person sits at."""

    image: Name
    """The image it boots: the name of an appliance folder whose manifest has ``role: user-os``."""
    memory: Size
    """Memory of the VM, for instance ``2 GiB``."""
    vcpus: int = Field(default=1, ge=1, le=256)
    """Virtual processors."""
    assign: tuple[Name, ...] = ()
    """Devices of the machine that belong to this VM alone, by VT-d."""
    addresses: tuple[Interface, ...] = ()
    """Its IP addresses with prefix length. Packets from it with another source are refused where these are given."""
    gateway: tuple[Address, ...] = ()
    """Next hops of its default routes, IPv4 and IPv6."""


class Uplink(DocumentModel):
    """Another way to the wire: one more network card of a router's."""

    nic: Name
    """The network function, assigned to the same appliance."""
    outside: tuple[Interface, ...]
    """The router's addresses there; sources that leave by it are hidden behind the first of each family."""
    gateway: tuple[Address, ...] = ()
    """Next hops there, one for each family. While none of them answers, connections leave by another uplink."""
    marks: tuple[Annotated[int, Field(ge=1, le=0xFFFFFFFF)], ...] = ()
    """Connections that a rule has marked with one of these leave by it, as long as it is up."""


class Routing(DocumentModel):
    """A firewall as a router between two networks, with its own addresses; without it, it passes frames unchanged."""

    outside: tuple[Interface, ...]
    """Its addresses on the side of the wire; sources are hidden behind the first of each family."""
    inside: tuple[Interface, ...]
    """Its addresses on the user's side: the gateways of the user OS."""
    gateway: tuple[Address, ...] = ()
    """Next hops outside, one for each family."""
    uplinks: tuple[Uplink, ...] = ()
    """Ways to the wire besides the network function that the path begins with, in the order in which they are taken."""


class ApplianceUse(DocumentModel):
    """One appliance VM of the topology."""

    use: Name
    """The appliance it is: a folder with an ``appliance.yaml``."""
    memory: Size = 128 * 1024 * 1024
    """Memory of the VM, for instance ``256 MiB``."""
    vcpus: int = Field(default=1, ge=1, le=256)
    """Virtual processors."""
    assign: tuple[Name, ...] = ()
    """Devices of the machine that belong to this VM alone, by VT-d."""
    addresses: tuple[Interface, ...] = ()
    """IP addresses this appliance speaks for; rules that name the appliance mean these."""
    mode: Literal["inline", "mirror"] = "inline"
    """Whether traffic passes through it or is only shown to it."""
    router: Routing | None = None
    """Makes a firewall a router; needed where the policy translates addresses."""
    dns: DnsSection | None = None
    """What a resolver or DNS filter blocks and whom it asks."""
    ids: IdsSection | None = None
    """What an intrusion detection looks for."""
    vpn: VpnSection | None = None
    """A WireGuard tunnel."""
    proxy: ProxySection | None = None
    """What a forward proxy lets through."""
    config: dict[Name, Annotated[Any, AfterValidator(as_json)]] = Field(default_factory=dict)
    """Settings of the appliance, as its manifest lists them."""


class Link(DocumentModel):
    """A point-to-point link beside the path, between two named ports."""

    name: Name
    """The link's name."""
    between: tuple[PortName, PortName]
    """The two ports it joins."""


class Topology(Head):
    """What the machine is made of."""

    kind: Literal["topology"]
    """The kind of document."""
    machine: str
    """File with the hardware, relative to this one."""
    policy: str
    """File with what may happen and what must never."""
    reference_values: str
    """File with the measurements that are accepted."""
    user_os: UserOs
    """The VM that a person sits at."""
    appliances: dict[Name, ApplianceUse] = Field(default_factory=dict)
    """The appliance VMs, by name."""
    path: tuple[Name, ...]
    """The only way between the wire and the user: the network function first, ``user-os`` last."""
    links: tuple[Link, ...] = ()
    """Links beside the path: a mirror port, a management segment."""
