"""The tree of steps on standard error while a start works: a line a step with its time, smaller lines below it.

Digests are cut to their beginning here; `vafw logs` and `--json` have them whole. A step that failed says nothing of
why: the error, which ends the same stream, does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from vafw.cli.output import columns, fitted, paint, wants_colour
from vafw.supervisor.steps import Step, StepState

_MARKS: Final = {
    StepState.DONE: ("✓", "green"),
    StepState.STOPPED: ("○", "dim"),
    StepState.FAILED: ("✗", "red"),
    StepState.RUNNING: ("…", "yellow"),
}
_TOLD: Final = {"launch"}
"""Steps whose notes are shown; those of an attestation are its claims, which have a table."""
_DIGEST: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b")


def show_step(step: Step) -> None:
    """Print a step: on a terminal when it begins and again over that line when it ends, elsewhere when it ends."""
    width = columns(sys.stderr)
    if step.state is StepState.RUNNING:
        if wants_colour(sys.stderr.isatty()):
            print(_line(step, width), end="\r", file=sys.stderr, flush=True)
        return
    print(_line(step, width), file=sys.stderr)
    for line in _notes(step.notes) if step.title in _TOLD else ():
        print(fitted(f"{'  ' * step.depth}    {line}", width), file=sys.stderr)


def _line(step: Step, width: int) -> str:
    symbol, style = _MARKS[step.state]
    indent = "  " * step.depth
    time = f"{step.elapsed_s:7.3f} s" if step.state is not StepState.RUNNING else " " * 9
    detail = "" if step.state is StepState.FAILED else f"  {step.detail}"
    text = fitted(f"{step.title:<18} {time}{detail}".rstrip(), width - len(indent) - 2)
    return f"{indent}{paint(symbol, style)} {text}"


def _notes(notes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Name and detail in two columns; neighbours with the same detail share a line."""
    groups = [(detail, [name for name, _ in group]) for detail, group in groupby(notes, key=lambda note: note[1])]
    shown = [(names[0] + (f" and {len(names) - 1} more" if names[1:] else ""), detail) for detail, names in groups]
    longest = max((len(name) for name, _ in shown), default=0)
    for name, detail in shown:
        yield f"{name:<{min(longest, 40)}}  {_short(detail)}"


def _short(text: str) -> str:
    return _DIGEST.sub(r"\1…", text)
