"""`vafw plan`: what `up` would bring up, and what it would change on a machine that runs."""

from __future__ import annotations

from pathlib import Path

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.errors import ExitCode
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.difference import difference, summary
from vafw.plan.plan import Plan
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Value


@click.command(
    epilog="Example: vafw plan policies/office-laptop/topology.yaml --exit-code. "
    "Signs: + create, ~ live, ! restart, -/+ recreate, - destroy."
)
@topology_argument
@click.option("--exit-code", is_flag=True, help="Exit with 10 where the plan has changes.")
@json_option
def command(topology: Path, exit_code: bool, as_json: bool) -> int:
    """Print what TOPOLOGY compiles to, compared with what runs under its name."""
    from vafw.document.load import load_topology  # deferred: nothing of it is needed for --help

    plan = compile_plan(load_topology(topology), ~Capability(0))
    wanted = plan.to_json()
    running = _running(plan.name)
    changes = difference(running, wanted)
    differs = running != wanted
    if not as_json:
        _print(plan)
        for change in changes:
            click.echo(str(change))
        click.echo(f"\n{summary(changes, re_attest=differs)}")
    code = ExitCode.PLAN_HAS_CHANGES if differs and exit_code else ExitCode.DONE
    data: dict[str, Value] = {
        "plan": wanted,
        "digest": plan.digest.hex(),
        "changes": [change.to_json() for change in changes],
        "re-attest": differs,
    }
    return Output(as_json, "Plan").result(data, code)


def _print(plan: Plan) -> None:
    click.echo(f"{plan.name} on {plan.machine.name}: wire - {' - '.join(plan.path)}")
    for vm in plan.vms:
        devices = ", ".join(f"{each.name} {each.bdf}" for each in vm.functions)
        vcpus = f"{vm.vcpus} vCPU{'s' if vm.vcpus > 1 else ''}"
        row = f"  {vm.name:<14} {vm.image.name:<14} {vm.memory_bytes >> 20:>6} MiB  {vcpus:<8} {devices}"
        click.echo(row.rstrip())
    click.echo(f"  digest {plan.digest.hex()}\n")


def _running(name: str) -> dict[str, Value] | None:
    """The plan of the machine that runs under this name; None where none does."""
    run = RunDirectory(name)
    snapshot = ask(run, "status") if run.is_held() else None
    plan = snapshot.get("plan") if isinstance(snapshot, dict) else None
    return plan if isinstance(plan, dict) else None
