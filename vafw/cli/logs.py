"""`vafw logs`: the events of a run, one a line: seconds since its start, what it happened to, what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from vafw.cli.options import json_option, run_argument
from vafw.cli.output import Output
from vafw.supervisor.run_directory import RunDirectory

_WIDEST: Final = 30
"""Columns of a subject at most; a longer one moves its line to the right."""
_SENTENCES: Final = ("line", "reason", "detail", "fault")
"""Details that say everything by themselves."""


@click.command(epilog="Example: vafw logs office-laptop --of firewall --grep no-lan")
@run_argument
@click.option("--of", "subject", help="Only events of this VM, device or component.")
@click.option("--grep", "pattern", help="Only lines that contain this text.")
@json_option
def command(run: RunDirectory, subject: str | None, pattern: str | None, as_json: bool) -> int:
    """Print the events of the running topology NAME, or of its last run."""
    events: list[Any] = run.events()
    width = min(max((len(each["subject"]) for each in events), default=0), _WIDEST)
    if subject:
        events = [each for each in events if each["subject"] == subject]
    if pattern:
        events = [each for each in events if pattern in _line(each, width)]
    if not as_json:
        for event in events:
            click.echo(_line(event, width))
    return Output(as_json, "Logs").result(events)


def _line(event: Mapping[str, Any], width: int) -> str:
    head = f"{event['time_s']:9.3f}  {event['subject']:<{width}}  {event['kind']:<19}"
    return f"{head}  {'  '.join(_told(event['detail']))}".rstrip()


def _told(detail: Mapping[str, Any]) -> Iterator[str]:
    """A sentence where there is one, then every other detail as key=value."""
    yield from (str(detail[key]) for key in _SENTENCES if key in detail)
    yield from (f"{key}={_shown(value)}" for key, value in detail.items() if key not in _SENTENCES)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return repr(text) if " " in text else text
