"""`vafw attest enrol`: bind endorsement key, attestation key and platform once, by credential activation."""

from __future__ import annotations

from pathlib import Path

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output


@click.command(epilog="Example: vafw attest enrol policies/office-laptop/topology.yaml")
@topology_argument
@click.option(
    "--ek-ca",
    "authorities",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A certificate authority (PEM) that vouches for TPMs; with one, the TPM must have its certificate.",
)
@json_option
def command(topology: Path, authorities: tuple[Path, ...], as_json: bool) -> int:
    """Enrol the TPM that TOPOLOGY runs on under the QEMU platform, which makes it where there is none yet.

    The binding is written to the ledger and never changes. The model platform needs none: its TPM is made with it.
    """
    from cryptography.x509 import load_pem_x509_certificates  # deferred with all below: large imports

    from vafw.cli.qemu_platform import enrol
    from vafw.document.load import load_document
    from vafw.document.topology import Topology
    from vafw.errors import UsageError

    try:
        trusted = [each for path in authorities for each in load_pem_x509_certificates(path.read_bytes())]
    except ValueError as error:
        raise UsageError(f"--ek-ca must name certificates in PEM: {error}") from error
    identity = enrol(load_document(topology, Topology).model.name, trusted)
    if not as_json:
        vouched = "its maker's certificate" if identity.certified else "you, who enrolled it here"
        click.echo(f"{identity.platform} is enrolled; its TPM is vouched for by {vouched}")
        click.echo(f"  endorsement key  {identity.ek_name.hex()}\n  attestation key  {identity.ak.name.hex()}")
    return Output(as_json, "AttestEnrol").result(
        {
            "platform": identity.platform,
            "ek-name": identity.ek_name.hex(),
            "ak-name": identity.ak.name.hex(),
            "certified": identity.certified,
        }
    )
