"""`vafw down`: stop a running topology."""

from __future__ import annotations

import sys

import click

from vafw.cli.options import json_option, run_name
from vafw.cli.output import Output
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory


@click.command()
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> int:
    """Stop the running topology NAME (a name or a topology file): the user OS first, then the appliances."""
    run = RunDirectory(run_name(name))
    snapshot = ask(run, "down")
    if not as_json:
        print(f"{run.name} is stopping", file=sys.stderr)
    return Output(as_json, "Down").result(snapshot)
