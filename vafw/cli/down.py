"""`vafw down`: stop a running topology."""

from __future__ import annotations

import sys

import click

from vafw.cli.options import json_option, run_argument
from vafw.cli.output import Output
from vafw.errors import VafwError
from vafw.supervisor.requests import ask, wait_for_end
from vafw.supervisor.run_directory import RunDirectory


@click.command(epilog="Example: vafw down office-laptop")
@run_argument
@json_option
def command(run: RunDirectory, as_json: bool) -> int:
    """Stop the running topology NAME (a name or a topology file): the user OS first, then the appliances.

    Returns when it has stopped.
    """
    owner = run.owner()
    ask(run, "down")
    if owner is not None and not wait_for_end(owner):
        raise VafwError(f"{run.name} was told to stop, and its process {owner} still runs")
    snapshot = run.last_snapshot()
    if not as_json:
        print(f"{run.name} is down: {snapshot['phase']}", file=sys.stderr)
    return Output(as_json, "Down").result(snapshot)
