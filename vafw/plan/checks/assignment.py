"""Who owns which device: each function one owner, each IOMMU group one owner, the NIC never the user.

An owner that a device must not have is refused once, by the most telling check: a NIC of the user OS is `VAFW-P010`
whether the policy forbids it or only the nature of the product does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.load import DocumentSet
from vafw.document.machine import Device
from vafw.document.source import Span
from vafw.plan.checks.place import span_at
from vafw.plan.roster import USER_OS, VmUse, by_name, roster


class Assignment(NamedTuple):
    """One function given to one VM, and where the topology says so."""

    use: VmUse
    name: str
    device: Device
    span: Span


def assignments(documents: DocumentSet) -> Iterator[Assignment]:
    """Every assignment of a device that the machine has."""
    devices = documents.machine.model.devices
    for use in roster(documents):
        for index, name in enumerate(use.assign):
            if name in devices:
                span = span_at(documents.topology, *use.place, "assign", index)
                yield Assignment(use, name, devices[name], span)


def functions_have_one_owner(documents: DocumentSet) -> Iterator[Diagnostic]:
    """No function is assigned twice."""
    first: dict[str, Assignment] = {}
    for each in assignments(documents):
        before = first.setdefault(each.name, each)
        if before is not each:
            yield Diagnostic(
                "VAFW-T040",
                f"the device '{each.name}' must belong to one VM, and it is assigned twice",
                each.span,
                f"assigned to '{each.use.name}' here",
                related=(Label(before.span, f"and to '{before.use.name}' here"),),
                hint="take one of the two assignments out",
            )


def groups_have_one_owner(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Functions of one IOMMU group belong to one VM: they could reach each other's memory past VT-d."""
    by_device = {each.name: each for each in reversed(tuple(assignments(documents)))}
    devices = documents.machine.model.devices
    reported: set[frozenset[str]] = set()
    for each in by_device.values():
        for mate, device in devices.items():
            if mate == each.name or device.group != each.device.group or device.class_ == "bridge":
                continue
            other = by_device.get(mate)
            pair = frozenset((each.name, mate))
            if (other is None or other.use.name != each.use.name) and pair not in reported:
                reported.add(pair)
                yield _split(documents, each, mate, other)


def _split(documents: DocumentSet, one: Assignment, mate: str, other: Assignment | None) -> Diagnostic:
    group, devices = one.device.group, documents.machine.model.devices
    owner = f"'{other.use.name}'" if other else "the VMM"
    members = ", ".join(name for name, device in devices.items() if device.group == group)
    return Diagnostic(
        "VAFW-T041",
        f"IOMMU group {group} must belong to one VM, and it is split between '{one.use.name}' and {owner}",
        one.span,
        f"'{one.name}' is of group {group}",
        related=(
            Label(
                other.span if other else documents.machine.key_at("devices", mate), f"so is '{mate}', which {owner} has"
            ),
        ),
        notes=(f"group {group}: {members}",),
        hint=f"put one of them into another slot, or assign all of group {group} to one VM",
    )


def functions_can_change_hands(documents: DocumentSet) -> Iterator[Diagnostic]:
    """A function that is assigned can be reset and has no memory that firmware holds for it."""
    for each in assignments(documents):
        if not each.device.reset:
            yield Diagnostic(
                "VAFW-M005",
                f"a device that is assigned must be resettable, and '{each.name}' is not",
                each.span,
                related=(Label(_fact(documents, each.name, "reset"), "it cannot be reset on its own"),),
                notes=("what one owner left in it would reach the next",),
                hint="assign another device, or correct the machine if it does have a function-level reset",
            )
        if each.device.reserved_memory:
            yield Diagnostic(
                "VAFW-M006",
                f"a device that is assigned must have no reserved memory, and '{each.name}' has",
                each.span,
                related=(Label(_fact(documents, each.name, "reserved-memory"), "an RMRR of the firmware"),),
                notes=("the firmware goes on using that memory through the device, past its VM",),
                hint="assign another device, or turn off what the firmware uses it for",
            )


def remapping_is_there(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Where anything is assigned, the machine remaps both DMA and interrupts."""
    first = next(assignments(documents), None)
    if first is None:
        return
    iommu = documents.machine.model.iommu
    facts = (
        ("VAFW-M003", "dma-remapping", iommu.dma_remapping, "a device could read and write all memory"),
        ("VAFW-M004", "interrupt-remapping", iommu.interrupt_remapping, "a device could forge any interrupt"),
    )
    for code, fact, holds, otherwise in facts:
        if not holds:
            yield Diagnostic(
                code,
                f"the machine must have {fact} where a device is assigned",
                span_at(documents.machine, "iommu", fact),
                otherwise,
                related=(Label(first.span, f"'{first.name}' is assigned to '{first.use.name}'"),),
                hint="turn VT-d and its interrupt remapping on in the firmware, or use another machine",
            )


def the_user_has_no_nic(documents: DocumentSet) -> Iterator[Diagnostic]:
    """No network function belongs to the user OS."""
    for each in assignments(documents):
        if each.use.is_user_os and each.device.class_ == "network":
            path = documents.topology.model.path
            yield Diagnostic(
                "VAFW-P010",
                f"the network function '{each.name}' must not be assigned to {USER_OS}",
                each.span,
                "the user OS would reach the wire past every appliance",
                related=_forbidding(documents, each),
                notes=(f"counter-example: {USER_OS} -> {each.name}",),
                hint=f"assign it to '{path[1]}'" if len(path) > 2 else "assign it to an appliance",
            )


def _forbidding(documents: DocumentSet, each: Assignment) -> tuple[Label, ...]:
    for index, rule in enumerate(documents.policy.model.devices):
        if rule.never and (rule.never.assign, rule.never.to) == (each.device.class_, each.use.name):
            return (Label(span_at(documents.policy, "devices", index), "the policy forbids it"),)
    return ()


def policy_allows_the_owner(documents: DocumentSet) -> Iterator[Diagnostic]:
    """No assignment is one that the policy says must never be."""
    for each in assignments(documents):
        forbidding = _forbidding(documents, each)
        if forbidding and not (each.use.is_user_os and each.device.class_ == "network"):
            yield Diagnostic(
                "VAFW-P011",
                f"a device of class {each.device.class_} must never be assigned to '{each.use.name}'",
                each.span,
                f"'{each.name}' is one",
                related=forbidding,
                hint="take the assignment out, or have the policy changed",
            )


def manifest_allows_the_class(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An image is given only classes of device that its manifest lists."""
    for each in assignments(documents):
        manifest = each.use.manifest
        wrong_role = manifest is not None and (manifest.role == "user-os") != each.use.is_user_os
        if manifest is None or wrong_role or each.device.class_ in manifest.assign:
            continue
        if each.use.is_user_os and each.device.class_ == "network":
            continue
        allowed = ", ".join(manifest.assign) or "none"
        yield Diagnostic(
            "VAFW-T047",
            f"'{each.use.image}' must only be assigned devices that its manifest allows, not '{each.name}'",
            each.span,
            f"a device of class {each.device.class_}",
            related=(Label(span_at(documents.appliances[each.use.image], "assign"), f"allowed: {allowed}"),),
            hint="assign it to another VM, or add the class to the manifest's assign",
        )


def the_first_appliance_has_the_nic(documents: DocumentSet) -> Iterator[Diagnostic]:
    """The function that the path begins with belongs to the VM that it leads to."""
    topology = documents.topology
    path, uses = topology.model.path, by_name(documents)
    if len(path) < 3 or path[0] not in documents.machine.model.devices or path[1] not in uses:
        return
    owners = [each for each in assignments(documents) if each.name == path[0]]
    if any(each.use.name == path[1] or each.use.is_user_os for each in owners):
        return
    elsewhere = Label(owners[0].span, f"it is assigned to '{owners[0].use.name}'") if owners else None
    yield Diagnostic(
        "VAFW-T046",
        f"'{path[0]}', which the path begins with, must be assigned to '{path[1]}'",
        span_at(topology, "path", 0),
        "assigned to no VM" if elsewhere is None else "the wire ends somewhere else",
        related=(elsewhere,) if elsewhere else (Label(topology.key_at(*uses[path[1]].place), "the first hop"),),
        hint=f"give {path[1]} assign: [{path[0]}]",
    )


def _fact(documents: DocumentSet, device: str, key: str) -> Span:
    return span_at(documents.machine, "devices", device, key)
