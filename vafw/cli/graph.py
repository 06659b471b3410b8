"""`vafw graph`: a topology drawn."""

from __future__ import annotations

from pathlib import Path

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.graph.render import GraphFormat, render

_FORMATS = click.Choice([each.value for each in GraphFormat])


@click.command(epilog="Example: vafw graph policies/office-laptop/topology.yaml --format svg > office.svg")
@topology_argument
@click.option("--format", "form", type=_FORMATS, default="ascii", show_default=True, help="What to draw with.")
@json_option
def command(topology: Path, form: str, as_json: bool) -> int:
    """Draw TOPOLOGY on standard output."""
    from vafw.document.load import load_topology  # deferred: nothing of it is needed for --help

    plan = compile_plan(load_topology(topology), ~Capability(0))
    drawn = render(plan, GraphFormat(form))
    if not as_json:
        click.echo(drawn, nl=False)
    return Output(as_json, "Graph").result({"format": form, "graph": drawn})
