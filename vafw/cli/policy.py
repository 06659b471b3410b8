"""`vafw policy`: questions to a policy, answered from its documents; nothing needs to run."""

from __future__ import annotations

import importlib
from typing import Final

import click

_VERBS: Final = {
    "test": "run the proofs: each holds for every packet, or a packet is shown",
    "explain": "walk one packet along the path, hop by hop and rule by rule",
    "diff": "say which packets meet another fate, and which proofs break",
    "replay": "say what would have become of every packet of a capture",
    "compile": "print what an appliance would get",
}


class _Verbs(click.Group):
    """The verbs, each imported when it is used."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Every verb, in the order a person meets them."""
        return list(_VERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the verb's module, which offers it under the name `command`."""
        if name not in _VERBS:
            return None
        command = getattr(importlib.import_module(f"vafw.cli.policy_{name}"), "command")  # noqa: B009
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from their table, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_Verbs, epilog="Example: vafw policy test policies/office-laptop")
def command() -> None:
    """Ask a policy: test its proofs, explain a packet, compare two, replay a capture, compile."""
