"""`vafw status`: a running topology, or how its last run ended."""

from __future__ import annotations

import sys

import click

from vafw.cli.options import json_option, run_name
from vafw.cli.output import Output
from vafw.errors import ExitCode
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory


@click.command(epilog="Exit code 3: not running; what the last run left is shown all the same.")
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> int:
    """Show the running topology NAME (a name or a topology file), or how its last run ended."""
    run = RunDirectory(run_name(name))
    running = run.is_held()
    snapshot = ask(run, "status") if running else run.last_snapshot()
    code = ExitCode.DONE if running else ExitCode.NOT_RUNNING
    if as_json:
        return Output(True, "Status").result(snapshot, code)
    from vafw.cli.tables import print_snapshot  # deferred: rich is not needed for JSON

    assert isinstance(snapshot, dict)
    print_snapshot(snapshot)
    if not running:
        print(f"{run.name} is not running; this is how its last run ended", file=sys.stderr)
    return code
