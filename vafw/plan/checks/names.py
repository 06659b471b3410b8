"""Names in the topology: each must stand for something, and no two things may share one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vafw.document.diagnostic import Diagnostic, Label, Severity, did_you_mean
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import is_written, span_at
from vafw.plan.roster import appliance_uses, roster

RESERVED: Final = ("any", "internet", "rfc1918")
"""Names that policies give a meaning of their own."""


def appliances_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every VM boots an appliance that there is."""
    for use in roster(documents):
        if use.manifest is None and use.image not in documents.appliances:
            what = "image" if use.is_user_os else "appliance"
            yield Diagnostic(
                "VAFW-T001",
                f"'{use.name}' must boot an {what} that there is, not '{use.image}'",
                span_at(documents.topology, *use.image_place),
                "no folder of that name holds an appliance.yaml",
                hint=did_you_mean(use.image, documents.catalog),
            )


def roles_fit(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An appliance VM boots an appliance, the user OS an image for a person."""
    for use in roster(documents):
        wanted = "user-os" if use.is_user_os else "appliance"
        if use.manifest is not None and use.manifest.role != wanted:
            yield Diagnostic(
                "VAFW-T002",
                f"'{use.name}' must boot an image whose manifest has role {wanted}, not '{use.image}'",
                span_at(documents.topology, *use.image_place),
                f"its role is {use.manifest.role}",
                related=(Label(span_at(documents.appliances[use.image], "role"), "declared here"),),
                hint=f"name an image of role {wanted}: `vafw appliance list` shows the role of each",
            )


def images_are_measured(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every image has an accepted measurement: without one the gate will stay closed."""
    reference = documents.reference_values
    reported: set[str] = set()
    for use in roster(documents):
        if reference is None or use.manifest is None or reference.model.images.get(use.image) or use.image in reported:
            continue
        reported.add(use.image)
        listed = is_written(reference, "images")
        related = (Label(reference.key_at("images"), "the accepted images"),) if listed else ()
        yield Diagnostic(
            "VAFW-T005",
            f"the image '{use.image}' must have an accepted measurement to start, and it has none",
            span_at(documents.topology, *use.image_place),
            related=related,
            hint="`vafw measure --write` writes the measurements of this machine",
            severity=Severity.WARNING,
        )


def devices_are_known(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every assigned device is one of the machine's."""
    devices = documents.machine.model.devices
    for use in roster(documents):
        for index, name in enumerate(use.assign):
            if name not in devices:
                yield Diagnostic(
                    "VAFW-T003",
                    f"'{use.name}' must be assigned a device of the machine, not '{name}'",
                    span_at(documents.topology, *use.place, "assign", index),
                    "the machine has no such device",
                    related=(Label(documents.machine.key_at("devices"), "its devices are listed here"),),
                    hint=did_you_mean(name, devices),
                )


def names_are_free(documents: DocumentSet) -> Iterator[Diagnostic]:
    """An appliance's name means nothing else in a path or a policy."""
    devices = documents.machine.model.devices
    for use in appliance_uses(documents):
        here = documents.topology.key_at(*use.place)
        if use.name in RESERVED:
            yield Diagnostic(
                "VAFW-T004",
                f"an appliance must have a name of its own, not '{use.name}'",
                here,
                "policies give this name a meaning of its own",
                hint=f"reserved are {', '.join(RESERVED)}",
            )
        elif use.name in devices:
            yield Diagnostic(
                "VAFW-T004",
                f"an appliance must have a name of its own, not that of the device '{use.name}'",
                here,
                "a path that names it could mean either",
                related=(Label(documents.machine.key_at("devices", use.name), "the device"),),
                hint="rename the appliance",
            )
