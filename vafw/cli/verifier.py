"""`vafw verifier`: appraise the machines of these topologies for as long as it runs, asked over MQTT."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from vafw.attest.desk import Watched
    from vafw.attest.ledger import Ledger


@click.command(epilog="Example: vafw verifier policies/office-laptop/topology.yaml --broker localhost:1883")
@click.argument("topologies", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--broker", metavar="HOST:PORT", default="localhost:1883", show_default=True, help="The MQTT broker.")
@click.option("--tls-ca", type=click.Path(exists=True, path_type=Path), help="Who vouches for the broker (PEM).")
@click.option("--tls-cert", type=click.Path(exists=True, path_type=Path), help="Certificate and key of ours (PEM).")
@click.option("--key", "print_key", is_flag=True, help="Print the public key that results are signed with, and end.")
@click.option("--access-list", is_flag=True, help="Print mosquitto's access list for the broker, and end.")
@json_option
def command(
    topologies: tuple[Path, ...],
    broker: str,
    tls_ca: Path | None,
    tls_cert: Path | None,
    *,
    print_key: bool,
    access_list: bool,
    as_json: bool,
) -> int:
    """Appraise machines on the QEMU platform: challenge, evidence and signed result over MQTT.

    Each machine is known by its enrolment in the ledger here (`vafw attest enrol`), and must be about to run its
    TOPOLOGY as it lies here. Runs until Ctrl-C.
    """
    if access_list:
        from vafw.control.topics import verifier_access_list

        if not as_json:
            click.echo(verifier_access_list(), nl=False)
        return Output(as_json, "Verifier").result({"accessList": verifier_access_list()})
    from vafw.cli.verifier_key import public_pem, signing_key  # deferred with all below: large imports

    key = signing_key()
    output = Output(as_json, "Verifier")
    if print_key:
        if not as_json:
            click.echo(public_pem(key), nl=False)
        return output.result({"key": public_pem(key)})
    if not topologies:
        raise UsageError("a verifier must be given the topologies that its machines run")
    from vafw.attest.desk import VerifierDesk
    from vafw.attest.ledger import Ledger
    from vafw.attest.token import ResultSigner
    from vafw.clock import SystemClock
    from vafw.control.bus import MqttLine
    from vafw.control.verifier import ISSUER, serve
    from vafw.supervisor.state_folder import ledger_path

    clock = SystemClock()
    ledger = Ledger(ledger_path(), clock)
    watched = _watched(topologies, ledger)
    import secrets
    import ssl

    tls = None
    if tls_ca is not None:
        tls = ssl.create_default_context(cafile=str(tls_ca))
        if tls_cert is not None:
            tls.load_cert_chain(tls_cert)
    host, _, port = broker.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--broker must be a host and a port, such as localhost:1883, not {broker!r}")
    desk = VerifierDesk(watched, ResultSigner(key, ISSUER, clock), clock, secrets.token_bytes, ledger)
    print(f"watching {', '.join(watched)} at {broker}; Ctrl-C ends it", file=sys.stderr)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(desk, MqttLine(host, int(port), ISSUER, tls=tls), tuple(watched)))
    return output.result({"watched": list(watched)}, ExitCode.DONE)


def _watched(topologies: tuple[Path, ...], ledger: Ledger) -> dict[str, Watched]:
    """What each machine is and must be about to run; NotEnrolled where the ledger knows it not."""
    from vafw.attest.desk import Watched
    from vafw.attest.enrolment import Enrolments
    from vafw.attest.evidence import RootOfTrust
    from vafw.cli.options import topology_file
    from vafw.cli.qemu_platform import load_plan
    from vafw.provider.qemu.enrolment import platform_name

    found: dict[str, Watched] = {}
    enrolments = Enrolments(ledger)
    for topology in topologies:
        plan = load_plan(topology_file(topology))
        identity = enrolments.require(platform_name(plan.name), "`vafw attest enrol TOPOLOGY` enrols it")
        found[identity.platform] = Watched(
            identity,
            plan.reference,
            plan.name,
            plan.digest,
            {kind: plan.documents[kind] for kind in ("topology", "policy")},
            tuple(dict.fromkeys(vm.image.name for vm in plan.vms)),
            RootOfTrust.TXT if plan.launch.require_txt else None,
        )
    return found
