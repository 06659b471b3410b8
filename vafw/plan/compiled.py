"""What an appliance of the path would get: the policy in the words of the program that enforces it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from vafw.document.load import DocumentSet
from vafw.errors import NoSuchObject
from vafw.plan.hops import path_hops
from vafw.traffic.nftables import nftables_text


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
    return nftables_text(hop.ruleset, inside=inside, outside=outside)


def _without_section(needed: str) -> Callable[[DocumentSet], str]:
    """A target for which no appliance can have a section yet."""

    def refuse(documents: DocumentSet) -> str:
        raise _nobody(documents, f"has a section {needed}", f"give an appliance a section {needed} in the topology")

    return refuse


def _nobody(documents: DocumentSet, what: str, hint: str) -> NoSuchObject:
    name = documents.topology.model.name
    return NoSuchObject(f"an appliance of '{name}' must be there that {what}, and there is none", hint=hint)


NFTABLES: Final = "nftables"
WRITERS: Final[Mapping[str, Callable[[DocumentSet], str]]] = {
    "unbound": _without_section("`dns:`"),
    "suricata": _without_section("`ids:`"),
    "wireguard": _without_section("`vpn:`"),
    "squid": _without_section("`proxy:`"),
}
"""Targets beside nftables."""
