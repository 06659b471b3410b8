"""`vafw graph`: a topology drawn."""

from __future__ import annotations

from pathlib import Path

import click

from vafw.cli.options import topology_argument
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.plan.graph.render import GraphFormat, render


@click.command(epilog="Example: vafw graph policies/office-laptop/topology.yaml --format svg > office.svg")
@topology_argument
@click.option(
    "--format", "form", type=click.Choice([each.value for each in GraphFormat]), default="ascii", show_default=True
)
def command(topology: Path, form: str) -> int:
    """Draw TOPOLOGY on standard output."""
    from vafw.document.load import load_topology  # deferred: nothing of it is needed for --help

    plan = compile_plan(load_topology(topology), ~Capability(0))
    click.echo(render(plan, GraphFormat(form)), nl=False)
    return 0
