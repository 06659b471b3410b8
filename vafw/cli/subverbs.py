"""A verb with sub-verbs of which one may be left out; each is imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import click


class SubVerbs(click.Group):
    """The sub-verbs of one verb; whatever names none of them is an argument of the one that everybody means."""

    verb: ClassVar[str]
    """A sub-verb lies in the module ``vafw.cli.<verb>_<sub-verb>``."""
    sentences: ClassVar[Mapping[str, str]]
    """What each sub-verb does."""
    meant: ClassVar[str] = "topology"
    """The one that may be left out."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Every sub-verb."""
        return list(self.sentences)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import the sub-verb's module."""
        if name not in self.sentences:
            return None
        command: Any = importlib.import_module(f"vafw.cli.{self.verb}_{name}")
        assert isinstance(command.command, click.Command)
        return command.command

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Put the sub-verb that everybody means before what names none."""
        if args and args[0] not in (*self.sentences, "--help"):
            args = [self.meant, *args]
        return super().parse_args(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The sub-verbs with their sentences, without importing any."""
        with formatter.section("Sub-verbs"):
            formatter.write_dl(list(self.sentences.items()))
