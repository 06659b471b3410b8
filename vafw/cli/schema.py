"""`vafw schema`: the JSON Schema of a kind of document, for editors."""

from __future__ import annotations

import click


@click.command(epilog="Example: vafw schema topology > topology.json")
@click.argument("kind")
def command(kind: str) -> int:
    """Print the JSON Schema of KIND: topology, policy, machine, reference-values, appliance."""
    from vafw.document.schema import schema_text  # deferred: pydantic is not needed to complain about arguments

    click.echo(schema_text(kind), nl=False)
    return 0
