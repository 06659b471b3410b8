"""`vafw policy compile`: what an appliance would get."""

from __future__ import annotations

from pathlib import Path

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.cli.policy_documents import documents_at, topology_or_here
from vafw.plan.compiled import NFTABLES, WRITERS, compiled


@click.command(epilog="Example: vafw policy compile policies/office-laptop --target nftables")
@topology_or_here
@click.option(
    "--target",
    type=click.Choice([NFTABLES, *WRITERS]),
    default=NFTABLES,
    show_default=True,
    help="The program it is for.",
)
@click.option("--inside", default="inside", show_default=True, help="The firewall's interface on the user's side.")
@click.option("--outside", default="outside", show_default=True, help="The firewall's interface on the wire's side.")
@json_option
def command(topology: Path, target: str, inside: str, outside: str, as_json: bool) -> int:
    """Print what the appliance of TOPOLOGY that --target names would get; the same documents give the same bytes."""
    text = compiled(documents_at(topology), target, inside=inside, outside=outside)
    if not as_json:
        print(text, end="")
    return Output(as_json, "PolicyCompile").result({"target": target, "text": text})
