"""What stands between devices and the root complex, and whether the groups that the machine states follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from vafw.document.diagnostic import Diagnostic, Label, did_you_mean
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.ports import computed_groups, is_behind_ports


def devices_stand_behind_ports(documents: DocumentSet) -> Iterator[Diagnostic]:
    """`behind` names a port that does not stand behind the device itself."""
    machine = documents.machine
    devices = machine.model.devices
    ports = [name for name, device in devices.items() if device.port is not None]
    for name, device in devices.items():
        if device.behind is None:
            continue
        if device.behind not in ports:
            yield Diagnostic(
                "VAFW-M009",
                f"'{name}' must stand behind a port, and '{device.behind}' is none",
                span_at(machine, "devices", name, "behind"),
                hint=did_you_mean(device.behind, ports) or "give the bridge its `port:`",
            )
        elif name in _above(documents, name):
            yield Diagnostic(
                "VAFW-M009",
                f"'{name}' must stand behind another port, not behind itself",
                span_at(machine, "devices", name, "behind"),
                notes=(" -> ".join((name, *_above(documents, name))),),
                hint="follow `behind` up to the root complex: the topmost port has none",
            )


def _above(documents: DocumentSet, name: str) -> tuple[str, ...]:
    """The names above a device, up to the root complex or to the first that comes again."""
    devices = documents.machine.model.devices
    found: list[str] = []
    above = devices[name].behind
    while above is not None and above in devices and above not in found:
        found.append(above)
        above = devices[above].behind
    return tuple(found)


def groups_follow_from_the_ports(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Devices that nothing keeps apart have one group number."""
    machine = documents.machine
    devices = machine.model.devices
    if not is_behind_ports(machine.model):
        return
    groups = computed_groups(machine.model)
    endpoints = [name for name, device in devices.items() if device.port is None]
    for one, other in combinations(endpoints, 2):
        if groups[one] == groups[other] and devices[one].group != devices[other].group:
            yield Diagnostic(
                "VAFW-M010",
                f"'{one}' and '{other}' must have one IOMMU group, and they have {devices[one].group} and "
                f"{devices[other].group}",
                span_at(machine, "devices", other, "group"),
                "nothing between the two isolates",
                related=(Label(span_at(machine, "devices", one, "group"), f"the group of '{one}'"),),
                hint="give them one number, or `acs: true` to what is above or between them if it has it",
            )
