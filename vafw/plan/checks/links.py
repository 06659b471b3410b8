"""Links beside the path, and the proof that no way from the user OS to the wire leads round the path."""

from __future__ import annotations

from collections.abc import Iterator

from vafw.document.diagnostic import Diagnostic, Label, did_you_mean
from vafw.document.load import DocumentSet
from vafw.plan.checks.path import path_is_sound
from vafw.plan.checks.place import span_at
from vafw.plan.path import Way, ways_round
from vafw.plan.plan import Port
from vafw.plan.roster import USER_OS, by_name, user_os
from vafw.plan.wiring import joints, network_functions, port, wires
from vafw.traffic.appliance import OUTSIDE


def ends_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Both ends of a link are ports that VMs have."""
    uses = by_name(documents)
    for index, link in enumerate(documents.topology.model.links):
        for side, end in enumerate(map(port, link.between)):
            here = span_at(documents.topology, "links", index, "between", side)
            use = uses.get(end.vm)
            if use is None:
                yield Diagnostic(
                    "VAFW-T020",
                    f"a link must join ports of VMs, and there is no VM '{end.vm}'",
                    here,
                    hint=did_you_mean(end.vm, uses),
                )
            elif use.manifest is not None and end.port not in use.manifest.ports:
                yield Diagnostic(
                    "VAFW-T021",
                    f"a link must join ports of VMs, and '{end.vm}' has no port '{end.port}'",
                    here,
                    related=(Label(span_at(documents.appliances[use.image], "ports"), "its ports"),),
                    hint=did_you_mean(end.port, use.manifest.ports),
                )


def ports_are_used_once(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A port is one end of one link, or is fed by the wire."""
    topology = documents.topology
    path = topology.model.path
    taken: dict[Port, tuple[str, tuple[str | int, ...]]] = {}
    if len(path) > 1:
        taken[Port(path[1], OUTSIDE)] = (f"the wire, through '{path[0]}'", ("path", 1))
    for wire in wires(documents):
        for end, where in ((wire.link.outer, wire.outer_place), (wire.link.inner, wire.inner_place)):
            if end in taken and not wire.of_path:
                by, first = taken[end]
                yield Diagnostic(
                    "VAFW-T022",
                    f"a port must be used once, and '{end}' is used already",
                    span_at(topology, *where),
                    "used again here",
                    related=(Label(span_at(topology, *first), f"first used by {by}"),),
                    hint=f"join '{wire.link.name}' to a free port",
                )
            taken.setdefault(end, (f"the link '{wire.link.name}'", where))


def link_names_are_free(documents: DocumentSet) -> Iterator[Diagnostic]:
    """No link bears the name of one of the path's own, which are named after both ends, such as ``firewall-dns``."""
    topology = documents.topology
    of_path = {wire.link.name: wire for wire in wires(documents) if wire.of_path}
    for index, link in enumerate(topology.model.links):
        if link.name in of_path:
            wire = of_path[link.name]
            yield Diagnostic(
                "VAFW-T023",
                f"a link must have a name of its own, not '{link.name}'",
                span_at(topology, "links", index, "name"),
                related=(Label(span_at(topology, *wire.place), f"the path joins '{wire.link.outer}' to it"),),
                hint="links of the path are named after both of their ends",
            )


def links_join_two_vms(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A link leads from one VM to another."""
    for index, link in enumerate(documents.topology.model.links):
        one, other = map(port, link.between)
        if one.vm == other.vm:
            yield Diagnostic(
                "VAFW-T024",
                f"a link must join two VMs, not '{one.vm}' with itself",
                span_at(documents.topology, "links", index, "between"),
                notes=(f"cycle: {one} -> {other} -> {one}",),
                hint="take the link out, or join one end to another VM",
            )


def nothing_leads_round_the_path(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every way from the user OS to a network function passes every appliance of the path."""
    if not path_is_sound(documents):
        return
    required = documents.topology.model.path[1:-1]
    graph = tuple(joint for joint in joints(documents) if not _is_direct(documents, joint.one, joint.other))
    for way in ways_round(graph, USER_OS, network_functions(documents), required):
        yield _round(documents, way, [name for name in required if name not in way.vertices])


def _is_direct(documents: DocumentSet, one: str, other: str) -> bool:
    """A network function of the user OS's own: `assignment` complains of that."""
    return one == USER_OS and other in user_os(documents).assign


def _round(documents: DocumentSet, way: Way, missed: list[str]) -> Diagnostic:
    topology = documents.topology
    origins = [step.by.origin for step in way.steps]
    culprit = next((origin for origin in origins if origin[0] == "links"), origins[-1])
    names = " and ".join(f"'{name}'" for name in missed)
    place = (*culprit, "between") if culprit[0] == "links" else culprit
    return Diagnostic(
        "VAFW-T031",
        f"traffic from '{USER_OS}' must not reach '{way.vertices[-1]}' without passing {names}",
        span_at(topology, *place),
        "this opens the way" if culprit[0] == "links" else "this function lies outside the path",
        related=(Label(span_at(topology, "path"), "the only way that may be"),),
        notes=(f"counter-example: {way}",),
        hint="take the link out" if culprit[0] == "links" else "assign it to the first appliance of the path",
    )
