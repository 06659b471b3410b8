"""`vafw schema`: the JSON Schema of a kind of document, for editors."""

from __future__ import annotations

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output


@click.command(epilog="Example: vafw schema topology > topology.json")
@click.argument("kind")
@json_option
def command(kind: str, as_json: bool) -> int:
    """Print the JSON Schema of KIND.

    One of topology, policy, machine, reference-values, appliance, traffic-script and workload.
    """
    from vafw.document.schema import schema, schema_text  # deferred: pydantic is not needed to complain about arguments

    if not as_json:
        click.echo(schema_text(kind), nl=False)
    return Output(as_json, "Schema").result(schema(kind))
