"""IP addresses of VMs: usable ones, each of one VM only, and a gateway that the user OS can reach."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address

from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.roster import roster, user_os


def addresses_have_one_owner(documents: DocumentSet) -> Iterator[Diagnostic]:
    """No two VMs, and no VM twice, speak for one address."""
    first: dict[IPv4Address | IPv6Address, tuple[str, tuple[str | int, ...]]] = {}
    for use in roster(documents):
        for index, interface in enumerate(use.addresses):
            place: tuple[str | int, ...] = (*use.place, "addresses", index)
            owner, before = first.setdefault(interface.ip, (use.name, place))
            if before != place:
                yield Diagnostic(
                    "VAFW-T060",
                    f"the address {interface.ip} must belong to one VM, and it is given twice",
                    span_at(documents.topology, *place),
                    f"'{use.name}' has it here",
                    related=(Label(span_at(documents.topology, *before), f"'{owner}' has it here"),),
                    hint="give each VM an address of its own",
                )


def addresses_are_usable(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An address is one that a single station can have."""
    for use in roster(documents):
        for index, interface in enumerate(use.addresses):
            if (why := unusable(interface)) is not None:
                yield Diagnostic(
                    "VAFW-T061",
                    f"a VM must have an address that one station can have, not {interface.ip}",
                    span_at(documents.topology, *use.place, "addresses", index),
                    f"this is {why}",
                    hint="give the address of the VM itself, with the length of its network's prefix",
                )


def unusable(interface: IPv4Interface | IPv6Interface) -> str | None:
    """What an address is, where no station can have it; None where one can. No `Interface` is multicast or mapped.

    Both addresses of a /31 (RFC 3021) and of a /127 (RFC 6164) are usable, and a /32 or /128 has only one.
    """
    address, network = interface.ip, interface.network
    if address.is_loopback:
        return "a loopback address"
    if isinstance(address, IPv6Address):
        return None
    if address.is_reserved or int(address) >> 24 == 0:
        return "a reserved address"
    if network.prefixlen < 31 and address == network.network_address:
        return f"the address of the network {network}"
    if network.prefixlen < 31 and address == network.broadcast_address:
        return f"the broadcast address of {network}"
    return None


def gateways_are_reachable(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A gateway is an IP address in one of the user OS's networks, and not its own."""
    topology = documents.topology
    use = user_os(documents)
    for index, text in enumerate(topology.model.user_os.gateway):
        here = span_at(topology, *use.place, "gateway", index)
        address = ip_address(text)
        if any(address == own.ip for own in use.addresses):
            yield Diagnostic(
                "VAFW-T062",
                f"a gateway must be another station, and {address} is the user OS itself",
                here,
                hint="name the router of the network",
            )
        elif not any(address in own.network for own in use.addresses) and not _link_local(address):
            networks = ", ".join(str(own.network) for own in use.addresses) or "none"
            label = Label(span_at(topology, *use.place, "addresses"), f"its networks: {networks}")
            yield Diagnostic(
                "VAFW-T062",
                f"a gateway must lie in a network of the user OS, and {address} does not",
                here,
                related=(label,) if use.addresses else (),
                hint="give the user OS an address in the gateway's network",
            )


def _link_local(address: IPv4Address | IPv6Address) -> bool:
    """An IPv6 router announces itself with a link-local address (RFC 4861), which every link reaches."""
    return address.version == 6 and address.is_link_local
