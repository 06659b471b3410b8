"""What the terminal UI may load, and who may load it; each asked of a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(str(ROOT / each) for each in (".", "tui", "appliances"))


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh process has loaded after a statement."""
    said = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": PATHS},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return set(said.stdout.split())


def test_the_ui_loads_no_provider_and_no_modelled_hardware() -> None:
    loaded = loaded_by("import vafw_tui.app, vafw.cli.tui")
    assert "textual.app" in loaded
    foreign = ("vafw.provider", "vafw.hw", "vafw.vmm", "vafw.control", "vafw.cli.up", "vafw_appliances")
    assert [each for each in loaded if each.startswith(foreign)] == []


def test_the_verb_loads_textual_only_when_it_is_used() -> None:
    loaded = loaded_by("import vafw.cli.tui, vafw.cli.check, vafw.cli.main")
    assert [each for each in loaded if each.startswith(("textual", "ruamel", "vafw_tui"))] == []


def test_what_is_pure_loads_no_textual() -> None:
    pure = "draft, edit, round_trip, comments, scene, drawing, form, judgement, report, feed, child, marks, overlay"
    loaded = loaded_by(f"from vafw_tui import {pure}")
    assert [each for each in loaded if each.startswith("textual")] == []
