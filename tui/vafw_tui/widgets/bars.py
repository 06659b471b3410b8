"""The line at the top, which says where one is, and the line at the bottom that says the same as a command."""

from __future__ import annotations

from typing import final

from textual.content import Content
from textual.widgets import Static

from vafw_tui.marks import Mark


@final
class TitleBar(Static):
    """What is open, whether it is saved, and how the run stands."""

    def show(self, name: str, facts: list[Mark]) -> None:
        """Other facts."""
        parts: list[tuple[str, str]] = [(" vafw ", "bold $text-accent"), (name, "bold")]
        for fact in facts:
            parts += [("   ", ""), (fact.text, fact.style)]
        self.update(Content.assemble(*parts))


@final
class CommandLine(Static):
    """The `vafw` command that does what a person does here."""

    command = ""

    def show(self, command: str) -> None:
        """Another command."""
        self.command = command
        said = Content.assemble(("$ ", "$text-accent"), (command, ""))
        self.update(said)
