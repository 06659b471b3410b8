"""`vafw plan`: what `up` would bring up, and what it would change on a machine that runs."""

from __future__ import annotations

from pathlib import Path

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.errors import ExitCode
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.difference import difference
from vafw.plan.plan import Plan
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Value


@click.command(epilog="Signs: + create, ~ live, ! restart, -/+ recreate, - destroy.")
@topology_argument
@click.option("--exit-code", is_flag=True, help="Exit with 10 where the plan has changes.")
@json_option
def command(topology: Path, exit_code: bool, as_json: bool) -> int:
    """Print what TOPOLOGY compiles to, compared with what runs under its name."""
    from vafw.document.load import load_topology  # deferred: nothing of it is needed for --help

    plan = compile_plan(load_topology(topology), ~Capability(0))
    changes = difference(_running(plan.name), plan.to_json())
    if not as_json:
        _print(plan)
        for change in changes:
            click.echo(str(change))
        click.echo(f"Plan: {len(changes)} changes. Digest {plan.digest.hex()}")
    code = ExitCode.PLAN_HAS_CHANGES if changes and exit_code else ExitCode.DONE
    data: dict[str, Value] = {
        "plan": plan.to_json(),
        "digest": plan.digest.hex(),
        "changes": [change.to_json() for change in changes],
    }
    return Output(as_json, "Plan").result(data, code)


def _print(plan: Plan) -> None:
    click.echo(f"{plan.name} on {plan.machine.name}: wire - {' - '.join(plan.path)}")
    for vm in plan.vms:
        devices = ", ".join(f"{each.name} {each.bdf}" for each in vm.functions) or "no device"
        click.echo(f"    {vm.name:<12} {vm.image.name:<12} {vm.memory_bytes >> 20:>6} MiB  {vm.vcpus} vCPU  {devices}")


def _running(name: str) -> dict[str, Value] | None:
    run = RunDirectory(name)
    if not run.is_held():
        return None
    from vafw.supervisor.requests import ask  # deferred: only a running machine is asked

    snapshot = ask(run, "status")
    plan = snapshot.get("plan") if isinstance(snapshot, dict) else None
    return plan if isinstance(plan, dict) else None
