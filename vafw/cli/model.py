"""`vafw model`: looks into the modelled hardware and into tables of real hardware; sub-verbs are imported when used."""

from __future__ import annotations

import importlib
from typing import Final

import click

SUBVERBS: Final = {
    "exits": "run a workload under five ways of virtualizing it, and count",
    "translate": "walk VT-d tables from a page dump for one device address",
    "tables": "print VT-d translation tables from a page dump",
    "irte": "print an interrupt remapping table from a page dump",
}


class ModelVerbs(click.Group):
    """The sub-verbs."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Every sub-verb."""
        return list(SUBVERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the sub-verb's module."""
        if name not in SUBVERBS:
            return None
        command = getattr(importlib.import_module(f"vafw.cli.model_{name}"), "command")  # noqa: B009
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """The sub-verbs with their sentences, without importing any."""
        with formatter.section("Sub-verbs"):
            formatter.write_dl(list(SUBVERBS.items()))


@click.command(
    cls=ModelVerbs,
    subcommand_metavar="SUB-VERB ...",
    epilog="Example: vafw model tables --memory dump.bin@0x1000000 --rtaddr 0x1000000 --cap 0x... --ecap 0x...",
)
def command() -> None:
    """Look into the modelled hardware, or into what was dumped from real hardware."""
