"""`vafw logs`: the events of a run, one a line."""

from __future__ import annotations

from typing import Any

import click

from vafw.cli.options import json_option, run_name
from vafw.cli.output import Output
from vafw.supervisor.run_directory import RunDirectory


@click.command(epilog="Example: vafw logs office-laptop --of firewall --grep no-lan")
@click.argument("name")
@click.option("--of", "subject", help="Only events of this VM, device or component.")
@click.option("--grep", "pattern", help="Only lines that contain this text.")
@json_option
def command(name: str, subject: str | None, pattern: str | None, as_json: bool) -> int:
    """Print the events of the running topology NAME, or of its last run."""
    events: list[Any] = RunDirectory(run_name(name)).events()
    if subject:
        events = [each for each in events if each["subject"] == subject]
    if pattern:
        events = [each for each in events if pattern in _line(each)]
    if not as_json:
        for event in events:
            click.echo(_line(event))
    return Output(as_json, "Logs").result(events)


def _line(event: dict[str, Any]) -> str:
    detail = event["detail"]
    text = detail.get("line") or " ".join(f"{key}={value}" for key, value in detail.items())
    return f"{event['time_s']:12.3f}  {event['subject']:<14} {event['kind']:<18} {text}"
