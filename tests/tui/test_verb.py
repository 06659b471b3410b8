"""The verb `vafw tui`, short of a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vafw.cli.tui import command
from vafw.errors import UsageError, VafwError


def test_without_a_terminal_refused(laptop: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        CliRunner().invoke(command, [str(laptop)], catch_exceptions=False)
    assert refusal.value.message == "vafw tui must have a terminal"


def test_a_file_that_is_not_there_refused(laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(VafwError) as refusal:
        command.main([str(laptop / "absent.yaml")], standalone_mode=False)
    assert refusal.value.message == f"{laptop / 'absent.yaml'} cannot be read: not a directory"


class Terminal:
    """Something that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True
