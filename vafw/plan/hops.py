"""The path as the header space sees it: each appliance between the wire and the user, with the rules it enforces."""

from __future__ import annotations

from collections.abc import Sequence

from vafw.document.load import DocumentSet
from vafw.plan.roster import USER_OS, VmUse, by_name
from vafw.plan.rules import compile_rules
from vafw.traffic.proof import Proof
from vafw.traffic.space.path import Hop


def path_hops(documents: DocumentSet) -> tuple[Hop, ...]:
    """The appliances of the path, from the wire inwards."""
    return hops_named(documents, documents.topology.model.path)


def hops_named(documents: DocumentSet, names: Sequence[str]) -> tuple[Hop, ...]:
    """Those of the names that are appliances, in the order given, as a packet from the wire would meet them."""
    uses = by_name(documents)
    ruleset = compile_rules(documents)
    return tuple(
        Hop(name, ruleset if uses[name].enforces("traffic") else None, _outer(uses[name]))
        for name in names
        if name in uses and name != USER_OS
    )


def _outer(use: VmUse) -> dict[int, int]:
    """The address of each IP version that a router hides others behind: its first one outside."""
    outside = use.router.outside if use.router is not None else ()
    return {each.version: int(each.ip) for each in reversed(outside)}


def path_proof(documents: DocumentSet) -> Proof:
    """The path, to be asked questions."""
    return Proof(path_hops(documents))
