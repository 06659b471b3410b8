"""Uplinks: further ways to the wire are network cards of the router's own, and no two of them mean the same."""

from __future__ import annotations

from collections.abc import Iterator

from vafw.document.diagnostic import Diagnostic, Label, Severity, did_you_mean
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.roster import VmUse, appliance_uses, router_of
from vafw.plan.wiring import network_functions


def uplinks_are_of_a_firewall(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Only a firewall chooses between ways to the wire."""
    router = router_of(documents)
    for use in appliance_uses(documents):
        if use.router is not None and use.router.uplinks and (router is None or router.name != use.name):
            yield Diagnostic(
                "VAFW-T090",
                f"only the firewall of the path that routes may have uplinks, and '{use.name}' is not that",
                documents.topology.key_at(*use.place, "router", "uplinks"),
                hint="take uplinks: out; a tunnel has one way out, the one that the path begins with",
            )


def uplinks_have_cards(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Each uplink is a network function that belongs to the router, and to no other way."""
    router = router_of(documents)
    if router is None or router.router is None:
        return
    taken = {documents.topology.model.path[0]: "the path begins with it"}
    for index, uplink in enumerate(router.router.uplinks):
        here = span_at(documents.topology, *router.place, "router", "uplinks", index, "nic")
        known = network_functions(documents)
        if uplink.nic not in known:
            yield Diagnostic(
                "VAFW-T091",
                f"an uplink must be a network function of the machine, not '{uplink.nic}'",
                here,
                hint=did_you_mean(uplink.nic, known, otherwise=f"network functions are {', '.join(known) or 'none'}"),
            )
        elif uplink.nic in taken:
            yield Diagnostic(
                "VAFW-T091",
                f"an uplink must be a network function of its own, not '{uplink.nic}'",
                here,
                taken[uplink.nic],
                hint="name another card, or take the uplink out",
            )
        elif uplink.nic not in router.assign:
            yield _unassigned(documents, router, uplink.nic, index)
        taken.setdefault(uplink.nic, "another uplink is this card already")


def _unassigned(documents: DocumentSet, router: VmUse, nic: str, index: int) -> Diagnostic:
    return Diagnostic(
        "VAFW-T091",
        f"the card of an uplink must be assigned to the router, and '{nic}' is not",
        span_at(documents.topology, *router.place, "router", "uplinks", index, "nic"),
        related=(Label(span_at(documents.topology, *router.place, "assign"), f"the devices of '{router.name}'"),),
        hint=f"write assign: [{', '.join((*router.assign, nic))}]",
    )


def marks_choose_one_uplink(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A mark leads to one uplink, and some rule sets it."""
    router = router_of(documents)
    if router is None or router.router is None:
        return
    set_by_rules = {rule.mark for rule in documents.policy.model.traffic.rules}
    first: dict[int, tuple[str | int, ...]] = {}
    for index, uplink in enumerate(router.router.uplinks):
        for at, mark in enumerate(uplink.marks):
            place: tuple[str | int, ...] = (*router.place, "router", "uplinks", index, "marks", at)
            if first.setdefault(mark, place) != place:
                yield Diagnostic(
                    "VAFW-T092",
                    f"a mark must lead to one uplink, and {mark} is given twice",
                    span_at(documents.topology, *place),
                    related=(Label(span_at(documents.topology, *first[mark]), "it leads here"),),
                    hint="take one of the two out",
                )
            elif mark not in set_by_rules:
                yield Diagnostic(
                    "VAFW-T093",
                    f"a rule should mark connections with {mark}, and none does",
                    span_at(documents.topology, *place),
                    "nothing prefers this uplink",
                    hint=f"add a rule with action: mark and mark: {mark}, or take the mark out",
                    severity=Severity.WARNING,
                )
