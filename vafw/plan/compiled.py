"""What an appliance of the path would get: the policy in the words of the program that enforces it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from vafw.document.load import DocumentSet
from vafw.document.topology import ApplianceUse
from vafw.errors import NoSuchObject
from vafw.plan.hops import own_addresses_of, path_hops
from vafw.plan.lists import blocked_names
from vafw.plan.roster import clients_of, router_of
from vafw.plan.writers.squid import squid_text
from vafw.plan.writers.suricata import suricata_text
from vafw.plan.writers.unbound import unbound_text
from vafw.plan.writers.wireguard import wireguard_text
from vafw.traffic.nftables.rendering import nftables_text


def compiled(documents: DocumentSet, target: str, *, inside: str = "inside", outside: str = "outside") -> str:
    """The configuration for one target; NoSuchObject where no appliance of the topology would get one.

    `inside` and `outside` are the interfaces of the firewall.
    """
    if target == NFTABLES:
        return _nftables(documents, inside, outside)
    return WRITERS[target](documents)


def _nftables(documents: DocumentSet, inside: str, outside: str) -> str:
    hop = next((hop for hop in path_hops(documents) if hop.ruleset is not None), None)
    if hop is None or hop.ruleset is None:
        raise _nobody(documents, "enforces traffic rules", "put an appliance with enforces: [traffic] into the path")
    router = router_of(documents)
    own = own_addresses_of(router.router) if router is not None and router.router is not None else None
    uplinks = router.router.uplinks if router is not None and router.router is not None else ()
    further = {f"{outside}-{at}": each.marks for at, each in enumerate(uplinks, start=2)}
    return nftables_text(hop.ruleset, inside=inside, outside=outside, own=own, further=further)


def _section_of(documents: DocumentSet, key: str) -> tuple[str, ApplianceUse]:
    """The first appliance with that section, by name."""
    for name, use in documents.topology.model.appliances.items():
        if getattr(use, key) is not None:
            return name, use
    raise _nobody(documents, f"has a section `{key}:`", f"give an appliance a section `{key}:` in the topology")


def _unbound(documents: DocumentSet) -> str:
    name, use = _section_of(documents, "dns")
    assert use.dns is not None
    return unbound_text(use.dns, blocked_names(documents, name, use.dns), list(clients_of(documents)))


def _suricata(documents: DocumentSet) -> str:
    _, use = _section_of(documents, "ids")
    assert use.ids is not None
    inline = use.mode == "inline"
    home = [str(each) for each in use.ids.home] or list(clients_of(documents))
    return suricata_text(use.ids, home, inline=inline, ports=("outside", "inside") if inline else ("mirror", "mirror"))


def _wireguard(documents: DocumentSet) -> str:
    _, use = _section_of(documents, "vpn")
    assert use.vpn is not None
    return wireguard_text(use.vpn)


def _squid(documents: DocumentSet) -> str:
    _, use = _section_of(documents, "proxy")
    assert use.proxy is not None
    return squid_text(use.proxy, [str(each) for each in use.proxy.clients] or clients_of(documents))


def _nobody(documents: DocumentSet, what: str, hint: str) -> NoSuchObject:
    name = documents.topology.model.name
    return NoSuchObject(f"an appliance of '{name}' must be there that {what}, and there is none", hint=hint)


NFTABLES: Final = "nftables"
WRITERS: Final[Mapping[str, Callable[[DocumentSet], str]]] = {
    "unbound": _unbound,
    "suricata": _suricata,
    "wireguard": _wireguard,
    "squid": _squid,
}
"""Targets beside nftables."""
