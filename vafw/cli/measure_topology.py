"""`vafw measure TOPOLOGY`: the reference values of a topology's components."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import click

from vafw import __version__
from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.document.load import load_topology
from vafw.errors import NoSuchObject
from vafw.trace import Value

Measured: TypeAlias = "tuple[bytes, bytes, Mapping[str, bytes]]"
"""Digests of SINIT or the launcher, of the VMM, and of every image by name."""


@click.command(epilog="Example: vafw measure policies/office-laptop/topology.yaml --write")
@topology_argument
@click.option("--write", is_flag=True, help="Replace the reference values that the topology names.")
@click.option(
    "--platform", type=click.Choice(["model", "qemu"]), default="model", show_default=True, help="Of which platform."
)
@click.option("--predict", is_flag=True, help="Print what PCR 17 and 18 will hold after the next launch of these.")
@click.option(
    "--log",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Hold the prediction against the event log of a launch.",
)
@json_option
def command(*, topology: Path, write: bool, platform: str, predict: bool, log: Path | None, as_json: bool) -> int:
    """Compute what the launcher, the VMM and every image of TOPOLOGY measure to.

    On the model platform the launcher is SINIT; on the QEMU platform it is vafw's own, and the VMM is this host's QEMU,
    whose TPM is enrolled along with --write.
    """
    path, name, measured = _on_qemu(topology) if platform == "qemu" else _on_model(topology)
    if predict or log is not None:
        from vafw.cli.measure_prediction import predicted  # deferred: a launch is rehearsed for it

        return predicted(topology, measured, platform, log, Output(as_json, "Measure"))
    text = reference_values(name, *measured, platform)
    if write:
        path.write_text(text, encoding="utf-8")
        print(f"{path}: written", file=sys.stderr)
        if platform == "qemu":
            _enrol(name)
    elif not as_json:
        click.echo(text, nl=False)
    sinit, vmm, images = measured
    data: dict[str, Value] = {
        "sinit": sinit.hex(),
        "vmm": vmm.hex(),
        "images": {name: digest.hex() for name, digest in images.items()},
    }
    return Output(as_json, "Measure").result(data)


def _enrol(name: str) -> None:
    from vafw.cli.qemu_platform import enrol  # deferred: a large import

    identity = enrol(name)
    print(f"{identity.platform}: its TPM is enrolled, attestation key {identity.ak.name.hex()[4:20]}", file=sys.stderr)


def _on_qemu(topology: Path) -> tuple[Path, str, Measured]:
    from vafw.cli.qemu_platform import measure, reference_values_path  # deferred: a large import

    name, found = measure(topology)
    return reference_values_path(topology), name, (found.launcher, found.vmm, found.images)


def _on_model(topology: Path) -> tuple[Path, str, Measured]:
    from vafw.provider.model import image  # deferred: the model platform is a large import
    from vafw.provider.model.measure import measure_installed

    documents = load_topology(topology, measuring=True)
    model = documents.topology.model
    names = dict.fromkeys([*(use.use for use in model.appliances.values()), model.user_os.image])
    missing = [name for name in names if name not in documents.catalog]
    if missing:
        raise NoSuchObject(f"there is no appliance {missing[0]!r}", hint=f"there are {', '.join(documents.catalog)}")
    found = measure_installed(image.load(documents.catalog[name], name) for name in names)
    return documents.folder / model.reference_values, model.name, (found.sinit, found.vmm, found.images)


def reference_values(name: str, sinit: bytes, vmm: bytes, images: Mapping[str, bytes], platform: str = "model") -> str:
    """The document of kind ``reference-values`` that accepts exactly these components."""
    note = f"vafw {__version__}, {platform} platform"
    lines = [
        "# yaml-language-server: $schema=../schema/reference-values.json",
        "# Which SINIT, VMM and images may run this topology; `vafw measure TOPOLOGY --write` writes it.",
        "vafw: 1",
        "kind: reference-values",
        f"name: {name}",
        f"sinit: [{_accepted(sinit, note)}]",
        f"vmm: [{_accepted(vmm, note)}]",
        *(["images:"] if images else []),
        *(f"  {image}: [{_accepted(digest, note)}]" for image, digest in images.items()),
    ]
    return "\n".join(lines) + "\n"


def _accepted(digest: bytes, note: str) -> str:
    return f'{{sha256: "{digest.hex()}", note: "{note}"}}'
