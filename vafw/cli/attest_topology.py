"""`vafw attest NAME`: a running machine anew, or a fresh launch that starts nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from vafw.cli.options import json_option, run_of, topology_file
from vafw.cli.output import Output
from vafw.errors import ExitCode, NotRunning, UsageError
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory


@click.command(
    epilog="Example: vafw attest policies/office-laptop/topology.yaml --tamper sinit. "
    "Exit codes: 0 affirming, 20 attestation failed, 21 no attestation could be had."
)
@click.argument("name")
@click.option("--tamper", metavar="COMPONENT[:BIT]", help="Alter a component of the fresh launch, as in `vafw up`.")
@json_option
def command(name: str, tamper: str | None, as_json: bool) -> int:
    """Attest the running topology NAME (a name or a topology file) with a fresh nonce.

    Where NAME is a topology file and nothing runs under its name, launch it, attest it, and start nothing.
    """
    run = run_of(name)
    output = Output(as_json, "Attest")
    if run.is_held():
        if tamper:
            raise UsageError("--tamper must be used with a fresh launch, not with a topology that runs")
        return _running(run, output)
    if not Path(name).exists():
        raise NotRunning(f"{run.name} is not running", hint="name a topology file to attest a fresh launch")
    return _fresh(topology_file(Path(name)), tamper, output)


def _running(run: RunDirectory, output: Output) -> int:
    result: Any = ask(run, "attest")
    code = ExitCode.DONE if result["tier"] == "affirming" else ExitCode.GATE_FAILED
    snapshot: Any = ask(run, "status")
    if not output.json:
        _print({"attestation": result, "gate": snapshot["gate"]})
    return output.result({"attestation": result, "gate": snapshot["gate"]}, code)


def _fresh(topology: Path, tamper: str | None, output: Output) -> int:
    from vafw.cli.model_platform import assembly, load_plan  # deferred with all below: a large import
    from vafw.cli.progress import show_step
    from vafw.provider.model.tamper import TamperPlan
    from vafw.provider.model.traffic import Traffic
    from vafw.supervisor.run import RunEnded, prove

    plan = load_plan(topology)
    machine = assembly(plan, Traffic(), TamperPlan.parse(tamper, plan) if tamper else None)
    try:
        snapshot = asyncio.run(prove(plan, machine, watch=None if output.json else show_step)).to_json()
    except RunEnded as ended:
        if not output.json:
            _print(ended.snapshot.to_json())
        raise
    if not output.json:
        _print(snapshot)
    return output.result({"attestation": snapshot["attestation"], "gate": snapshot["gate"]})


def _print(snapshot: dict[str, Any]) -> None:
    from vafw.cli.tables import print_snapshot  # deferred: rich is not needed for JSON

    print_snapshot(snapshot, attestation_only=True)
