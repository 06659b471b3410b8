"""`vafw capture`: save what the user sees."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import click

from vafw.cli.options import json_option, run_argument
from vafw.cli.output import Output
from vafw.errors import UsageError
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory


@click.command(epilog="Example: vafw capture office-laptop --display screen.png")
@run_argument
@click.option("--display", "picture", type=click.Path(path_type=Path), help="Write the user's screen to this PNG file.")
@json_option
def command(run: RunDirectory, picture: Path | None, as_json: bool) -> int:
    """Save the screen of the running topology NAME, or the last screen of its last run."""
    if picture is None:
        raise UsageError("capture must be told what to save", hint="vafw capture NAME --display FILE.png")
    png = base64.b64decode(str(ask(run, "display"))) if run.is_held() else run.last_display()
    picture.write_bytes(png)
    if not as_json:
        print(f"{picture}: {len(png)} bytes", file=sys.stderr)
    return Output(as_json, "Capture").result({"display": str(picture), "bytes": len(png)})
