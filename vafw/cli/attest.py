"""`vafw attest`: whether a machine is to be believed, and everything around it; each sub-verb imported when it is used.

`vafw attest NAME` attests that topology, as everybody wants most of the time; the other sub-verbs have names of their
own, and a topology called like one is named by its file.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

SUBVERBS: Final = {
    "topology": "attest a running topology anew, or a fresh launch (the name may be left out)",
    "explain": "account for a fresh launch event by event: what diverged, and what to do",
    "log": "print an event log of any kind, and replay it",
    "enrol": "bind the TPM of a topology's platform to it, once",
}


class AttestVerbs(click.Group):
    """The sub-verbs; whatever names none of them is the name of a topology."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Every sub-verb."""
        return list(SUBVERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the sub-verb's module."""
        if name not in SUBVERBS:
            return None
        command = getattr(importlib.import_module(f"vafw.cli.attest_{name}"), "command")  # noqa: B009
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Put the sub-verb that everybody means before the name of a topology."""
        if args and args[0] not in (*SUBVERBS, "--help"):
            args = ["topology", *args]
        return super().parse_args(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The sub-verbs with their sentences, without importing any."""
        with formatter.section("Sub-verbs"):
            formatter.write_dl(list(SUBVERBS.items()))


@click.command(
    cls=AttestVerbs,
    subcommand_metavar="NAME | SUB-VERB ...",
    epilog="Example: vafw attest office-laptop. `vafw attest topology --help` shows the options of that.",
)
def command() -> None:
    """Attest a topology (NAME: a running topology, or a topology file), or do one of the things around it."""
