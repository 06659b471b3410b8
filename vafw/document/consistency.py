"""What one document contradicts itself in: the same thing said twice, a path that cannot be one.

A model cannot show two places, so these are functions over the document. What needs a second document is `plan`'s.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.machine import Machine
from vafw.document.policy import Policy
from vafw.document.source import Span
from vafw.document.topology import Topology

if TYPE_CHECKING:
    from vafw.document.load import Document

USER_OS = "user-os"
"""What paths and rules call the VM that a person sits at."""


def contradictions(document: Document[Any]) -> Iterator[Diagnostic]:
    """Everything in which a document contradicts itself."""
    match document.model:
        case Topology():
            yield from _topology(document, document.model)
        case Policy():
            yield from _policy(document, document.model)
        case Machine():
            yield from _machine(document, document.model)


def _topology(document: Document[Any], topology: Topology) -> Iterator[Diagnostic]:
    links = ((link.name, document.at("links", number, "name")) for number, link in enumerate(topology.links))
    yield from _repeated("link", links)
    hops = [(hop, document.at("path", number)) for number, hop in enumerate(topology.path)]
    spans = [span for _, span in hops]
    for again in _repeated("hop of the path", hops):
        circle = topology.path[spans.index(again.related[0].span) : spans.index(again.span) + 1]
        yield replace(again, notes=(f"cycle: {' -> '.join(circle)}",))
    if USER_OS in topology.appliances:
        yield Diagnostic(
            "VAFW-D018",
            "an appliance must not be called user-os, for that is the VM that a person sits at",
            document.key_at("appliances", USER_OS),
            related=(Label(document.key_at("user-os"), "this one"),),
        )
    if len(hops) < 2 or hops[-1][0] != USER_OS:
        yield Diagnostic(
            "VAFW-D018",
            "path must begin with the network function and end with user-os",
            hops[-1][1] if hops else document.key_at("path"),
            "the path ends here",
            hint="write it from the wire inwards, such as [nic, firewall, user-os]",
        )


def _policy(document: Document[Any], policy: Policy) -> Iterator[Diagnostic]:
    rules = enumerate(policy.traffic.rules)
    yield from _repeated("rule", ((rule.name, document.at("traffic", "rules", at, "name")) for at, rule in rules))


def _machine(document: Document[Any], machine: Machine) -> Iterator[Diagnostic]:
    devices = machine.devices.items()
    addresses = (
        (device.address.removeprefix("0000:"), document.at("devices", name, "address")) for name, device in devices
    )
    yield from _repeated("PCI address", addresses)
    cards = ((device.mac, document.at("devices", name, "mac")) for name, device in devices if device.mac)
    yield from _repeated("MAC address", cards)


def _repeated(what: str, named: Iterable[tuple[Hashable, Span]]) -> Iterator[Diagnostic]:
    """One diagnostic for each name that stood there before."""
    first: dict[Hashable, Span] = {}
    for name, span in named:
        if name in first:
            yield Diagnostic(
                "VAFW-D017",
                f"the {what} {name} must stand only once",
                span,
                "here again",
                related=(Label(first[name], "first here"),),
                hint="give one of the two another name" if what in ("link", "rule") else None,
            )
        first.setdefault(name, span)
