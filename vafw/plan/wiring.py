"""What is joined to what: the links of the path and beside it, and the network functions, as a graph.

The path's own links are not written in a topology: between two hops there is one, from `inside` of the hop nearer to
the wire to `outside` of the next, and it bears both names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vafw.document.load import DocumentSet
from vafw.plan.path import Joint
from vafw.plan.plan import LinkPlan, Port
from vafw.plan.roster import roster
from vafw.traffic.appliance import INSIDE, OUTSIDE


@dataclass(frozen=True, slots=True)
class Wire:
    """One link and where the topology says so."""

    link: LinkPlan
    place: tuple[str | int, ...]
    """The keys that lead to the link; for one of the path, to its inner end."""
    outer_place: tuple[str | int, ...]
    """The keys that lead to its outer end."""
    inner_place: tuple[str | int, ...]
    of_path: bool


def wires(documents: DocumentSet) -> Iterator[Wire]:
    """The links of the path from the wire inwards, then those beside it."""
    topology = documents.topology.model
    for index, (outer, inner) in enumerate(pairwise(topology.path[1:]), start=2):
        link = LinkPlan(f"{outer}-{inner}", Port(outer, INSIDE), Port(inner, OUTSIDE))
        place = ("path", index)
        yield Wire(link, place, ("path", index - 1), place, of_path=True)
    for index, declared in enumerate(topology.links):
        ends = [(port(text), ("links", index, "between", side)) for side, text in enumerate(declared.between)]
        (outer_end, outer_place), (inner_end, inner_place) = sorted(
            ends, key=lambda end: _distance_from_the_wire(topology.path, end[0].vm)
        )
        link = LinkPlan(declared.name, outer_end, inner_end)
        yield Wire(link, ("links", index), outer_place, inner_place, of_path=False)


def _distance_from_the_wire(path: Sequence[str], vm: str) -> float:
    """The place in the path; what stands beside it lies between the last appliance and the user OS."""
    return path.index(vm) if vm in path else len(path) - 1.5


def port(text: str) -> Port:
    """Read ``ids.mirror``."""
    vm, _, name = text.partition(".")
    return Port(vm, name)


def joints(documents: DocumentSet) -> Iterator[Joint]:
    """Everything that frames can travel along: links, and assignments of network functions."""
    for wire in wires(documents):
        outer, inner = wire.link.outer, wire.link.inner
        ports = ("", "") if wire.of_path else (outer.port, inner.port)
        yield Joint(outer.vm, inner.vm, *ports, origin=wire.place)
    for use in roster(documents):
        for index, name in enumerate(use.assign):
            if name in network_functions(documents):
                yield Joint(use.name, name, origin=(*use.place, "assign", index))


def network_functions(documents: DocumentSet) -> tuple[str, ...]:
    """Names of the machine's network functions."""
    devices = documents.machine.model.devices
    return tuple(name for name, device in devices.items() if device.class_ == "network")
