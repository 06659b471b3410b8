"""The VMs that a topology declares, appliances and user OS alike, before anything has been checked.

The documents treat the user OS and the appliances differently; checks and compilation mostly do not. A `VmUse` is what
they have in common, with the place in the topology where it stands, so that a complaint can point there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_network
from typing import Any, Final

from vafw.document.appliance import Appliance
from vafw.document.load import DocumentSet
from vafw.document.topology import Routing

USER_OS: Final = "user-os"
"""What topologies, policies and plans call the VM that a person sits at."""


@dataclass(frozen=True, slots=True)
class VmUse:
    """One VM as the topology declares it."""

    name: str
    image: str
    """The appliance folder it boots."""
    manifest: Appliance | None
    """Its manifest; None where there is no such appliance, which `checks.names` complains of."""
    memory_bytes: int
    vcpus: int
    assign: tuple[str, ...]
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    config: Mapping[str, Any]
    inline: bool
    """Whether traffic passes through it."""
    router: Routing | None
    """What makes it a router, where it is one."""
    place: tuple[str, ...]
    """The keys that lead to it in the topology."""
    image_place: tuple[str, ...]
    """The keys that lead to the name of its image."""

    @property
    def is_user_os(self) -> bool:
        """Whether a person sits at it."""
        return self.place == (USER_OS,)

    def enforces(self, what: str) -> bool:
        """Whether its manifest says that it enforces that part of a policy."""
        return self.manifest is not None and what in self.manifest.enforces


def appliance_uses(documents: DocumentSet) -> Iterator[VmUse]:
    """The appliances, in the order in which the topology declares them."""
    for name, use in documents.topology.model.appliances.items():
        yield VmUse(
            name=name,
            image=use.use,
            manifest=_manifest(documents, use.use),
            memory_bytes=use.memory,
            vcpus=use.vcpus,
            assign=use.assign,
            addresses=use.addresses,
            config=use.config,
            inline=use.mode == "inline",
            router=use.router,
            place=("appliances", name),
            image_place=("appliances", name, "use"),
        )


def user_os(documents: DocumentSet) -> VmUse:
    """The user OS."""
    use = documents.topology.model.user_os
    return VmUse(
        name=USER_OS,
        image=use.image,
        manifest=_manifest(documents, use.image),
        memory_bytes=use.memory,
        vcpus=use.vcpus,
        assign=use.assign,
        addresses=use.addresses,
        config={},
        inline=False,
        router=None,
        place=(USER_OS,),
        image_place=(USER_OS, "image"),
    )


def roster(documents: DocumentSet) -> tuple[VmUse, ...]:
    """Every VM: the appliances, then the user OS."""
    return (*appliance_uses(documents), user_os(documents))


def by_name(documents: DocumentSet) -> dict[str, VmUse]:
    """Every VM by its name. The user OS keeps its name where an appliance takes it (`checks.names` refuses that)."""
    return {use.name: use for use in roster(documents)}


def router_of(documents: DocumentSet) -> VmUse | None:
    """The firewall of the path that is a router; None where all of them pass frames on as they are."""
    uses = by_name(documents)
    hops = (uses[hop] for hop in documents.topology.model.path if hop in uses)
    return next((use for use in hops if use.router is not None and use.enforces("traffic")), None)


def gateway_of(documents: DocumentSet) -> VmUse | None:
    """The appliance of the path that routes, a firewall or a VPN; None where all of them pass frames on as they are."""
    uses = by_name(documents)
    hops = (uses[hop] for hop in documents.topology.model.path if hop in uses)
    routing = (use for use in hops if use.router is not None and (use.enforces("traffic") or use.enforces("vpn")))
    return next(routing, None)


def proxies_of(documents: DocumentSet) -> tuple[VmUse, ...]:
    """The proxies of the path, from the wire inwards: what of the user's side asks in its own name."""
    uses = by_name(documents)
    return tuple(uses[hop] for hop in documents.topology.model.path if hop in uses and uses[hop].enforces("proxy"))


def clients_of(documents: DocumentSet) -> tuple[str, ...]:
    """The user's own addresses as networks, or everybody on the inside where none is declared."""
    own = tuple(str(ip_network(each.ip)) for each in documents.topology.model.user_os.addresses)
    return own or ("0.0.0.0/0", "::/0")


def _manifest(documents: DocumentSet, image: str) -> Appliance | None:
    document = documents.appliances.get(image)
    return document.model if document is not None else None
