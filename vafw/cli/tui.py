"""`vafw tui`: a topology in the terminal, to look at, edit and run."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import click

from vafw.cli.options import topology_argument
from vafw.errors import ExitCode, UsageError, VafwError


@click.command(epilog="Example: vafw tui policies/office-laptop/topology.yaml")
@topology_argument
@click.option("--theme", default=None, help="The theme to begin with; the palette (:) lists them. Also VAFW_THEME.")
def command(topology: Path, theme: str | None) -> int:
    """Show TOPOLOGY in the terminal: picture, form and text, problems as you type, and its run."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("vafw tui must have a terminal", hint="vafw graph and vafw status need none")
    gc.disable()  # as in `main`: imports make much and drop nothing
    from vafw.document.source import Unreadable  # deferred with all below: Textual is for this verb alone
    from vafw_tui.app import LOOK_EVERY_S, VafwApp
    from vafw_tui.draft import Draft
    from vafw_tui.themes import THEME_VARIABLE

    gc.freeze()
    gc.enable()
    try:
        draft = Draft.open(topology.absolute())
    except Unreadable as error:
        raise VafwError(f"{topology} cannot be read: {error}", hint=error.hint) from error
    app = VafwApp(draft, given=topology, look_every_s=LOOK_EVERY_S)
    if chosen := theme or os.environ.get(THEME_VARIABLE):
        if chosen not in app.available_themes:
            raise UsageError(f"--theme must be one of {', '.join(sorted(app.available_themes))}, not {chosen!r}")
        app.theme = chosen
    app.run()
    return app.return_code or ExitCode.DONE
