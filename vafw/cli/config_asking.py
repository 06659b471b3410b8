"""What `vafw config` asks a running machine, and how it prints the answers."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from vafw.cli.output import Output
from vafw.errors import ExitCode, UsageError
from vafw.supervisor.requests import Answered, ask
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Value


def ask_config(run: RunDirectory, as_json: bool, verb: str, **details: Value) -> Any:
    """The answer, or the exit code where documents are wrong, whose diagnostics are printed here."""
    try:
        return ask(run, "config", verb=verb, **details)
    except Answered as refused:
        if "rendered" not in refused.answer:
            raise
        if not as_json:
            print(refused.answer["rendered"], file=sys.stderr)
        code: ExitCode = refused.exit_code
        return Output(as_json, "Config").result(None, code, refused.answer["diagnostics"])


def print_state(answer: Any, as_json: bool) -> int:
    """Print how an appliance stands after a request; the exit code."""
    if isinstance(answer, int):
        return answer
    if not as_json:
        print("\n".join(state_lines(answer)))
    return Output(as_json, "Config").result(answer)


def state_lines(state: Mapping[str, Any]) -> list[str]:
    """What an appliance is to have against what it reports."""
    desired, reported = state["desired"], state["reported"]
    said = "nothing reported yet"
    if reported:
        running = number_of(reported["running"]) if reported["running"] else "what it was started with"
        said = f"{reported['outcome']}, {running} runs: {reported['reason']}"
    marker = "in sync" if state["in-sync"] else "not in sync"
    return [
        f"{state['appliance']}: generation {number_of(desired)}, {marker}",
        f"  desired   {desired['note'] or 'no note'} ({desired['author']}, {desired['at'][:19].replace('T', ' ')})"
        f"{marks_of(desired)}",
        f"  reported  {said}",
    ]


def marks_of(entry: Mapping[str, Any]) -> str:
    """Who signed a generation and how its trial stands, to be said behind it."""
    marks = []
    if entry["signers"]:
        marks.append(f"signed by {', '.join(entry['signers'])}")
    if trial := entry["trial"]:
        ended = f"{trial['state']}: {trial['reason']}" if trial["reason"] else trial["state"]
        marks.append(f"{ended} by {', '.join(entry['confirmed-by'])}" if entry["confirmed-by"] else ended)
    return "".join(f" [{each}]" for each in marks)


def number_of(version: Mapping[str, Any]) -> str:
    """The generation, with its epoch where that is not the first."""
    epoch, generation = version["epoch"], version["generation"]
    return str(generation) if epoch == 1 else f"{epoch}.{generation}"


def seconds_of(text: str) -> float:
    """``30 s``, ``5 min`` or ``1 h`` in seconds; UsageError for anything else."""
    found = re.fullmatch(r"([0-9]{1,5}) ?(s|min|h)", text.strip())
    if not found or not int(found[1]):
        raise UsageError(f"a time must be written such as `30 s`, `5 min` or `1 h`, not {text!r}")
    return float(int(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]])
