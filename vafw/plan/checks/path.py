"""The path: from a network function through each inline appliance to the user OS.

That it ends with the user OS and passes nothing twice, the topology alone shows (`document.consistency`).

`path_is_sound` is for later checks: what it answers no to has been complained of here, and what would follow from it
need not be.
"""

from __future__ import annotations

from collections.abc import Iterator

from vafw.document.diagnostic import Diagnostic, Label, did_you_mean, nearest
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.roster import appliance_uses, by_name
from vafw.traffic.appliance import INSIDE, OUTSIDE


def begins_at_the_wire(documents: DocumentSet) -> Iterator[Diagnostic]:
    """The first hop is a network function of the machine."""
    topology, devices = documents.topology, documents.machine.model.devices
    path = topology.model.path
    networks = [name for name, device in devices.items() if device.class_ == "network"]
    if path[0] not in networks:
        device = devices.get(path[0])
        yield Diagnostic(
            "VAFW-T010",
            f"the path must begin with a network function of the machine, not '{path[0]}'",
            span_at(topology, "path", 0),
            f"this is a device of class {device.class_}" if device else "the machine has no such device",
            hint=did_you_mean(path[0], networks, otherwise=_choice(networks)),
        )


def _choice(networks: list[str]) -> str:
    return f"network functions of the machine: {', '.join(networks) or 'none'}"


def hops_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every hop between the two ends is an appliance of the topology."""
    topology, devices = documents.topology, documents.machine.model.devices
    appliances = topology.model.appliances
    for index, hop in enumerate(topology.model.path[1:-1], start=1):
        if hop in appliances:
            continue
        if hop in devices:
            label = "a device, and devices stand only at the beginning"
        else:
            label = "the topology declares no such appliance"
        yield Diagnostic(
            "VAFW-T012",
            f"a hop of the path must be an appliance of the topology, not '{hop}'",
            span_at(topology, "path", index),
            label,
            hint=did_you_mean(hop, [name for name in appliances if name not in topology.model.path])
            or did_you_mean(hop, appliances),
        )


def inline_appliances_stand_in_the_path(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An appliance that traffic should pass through is passed through, and a mirror is not."""
    topology = documents.topology
    path = topology.model.path
    misspelt = {nearest(hop, topology.model.appliances) for hop in path[1:-1] if hop not in topology.model.appliances}
    for use in appliance_uses(documents):
        if use.inline and use.name not in path and use.name not in misspelt:
            yield Diagnostic(
                "VAFW-T014",
                f"the inline appliance '{use.name}' must stand in the path",
                topology.key_at(*use.place),
                "no traffic passes through it",
                related=(Label(span_at(topology, "path"), f"the path leaves '{use.name}' out"),),
                hint=f"put {use.name} into the path, or give it mode: mirror",
            )
        elif not use.inline and use.name in path:
            yield Diagnostic(
                "VAFW-T015",
                f"the path must pass inline appliances only, not '{use.name}', which is a mirror",
                span_at(topology, "path", path.index(use.name)),
                "passes through it",
                related=(Label(span_at(topology, *use.place, "mode"), "a mirror is only shown the traffic"),),
                hint=f"give {use.name} mode: inline and join it to a mirror port by a link",
            )


def hops_have_ports(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An appliance of the path has a port to the wire and one to the user; the user OS has one to the wire."""
    uses = by_name(documents)
    for index, hop in enumerate(documents.topology.model.path):
        use = uses.get(hop)
        if use is None or use.manifest is None:
            continue
        needed = (OUTSIDE,) if use.is_user_os else (OUTSIDE, INSIDE)
        if missing := [port for port in needed if port not in use.manifest.ports]:
            yield Diagnostic(
                "VAFW-T016",
                f"a hop of the path must have the ports {' and '.join(needed)}, and '{use.name}' has no "
                f"{' and no '.join(missing)}",
                span_at(documents.topology, "path", index),
                f"the image '{use.image}' cannot be passed",
                related=(Label(span_at(documents.appliances[use.image], "ports"), "its ports"),),
                hint="take another image, or take the hop out of the path",
            )


def path_is_sound(documents: DocumentSet) -> bool:
    """Whether the path leads from a network function through known hops to the user OS."""
    return not any(True for check in (begins_at_the_wire, hops_are_known) for _ in check(documents))
