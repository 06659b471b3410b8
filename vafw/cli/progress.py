"""The tree of steps on standard error while a start works: a line a step, with its time."""

from __future__ import annotations

import sys
from typing import Final

from vafw.cli.output import paint, wants_colour
from vafw.supervisor.steps import Step, StepState

_MARKS: Final = {StepState.DONE: ("✓", "green"), StepState.FAILED: ("✗", "red"), StepState.RUNNING: ("…", "yellow")}


def show_step(step: Step) -> None:
    """Print a step: on a terminal when it begins and again over that line when it ends, elsewhere when it ends."""
    on_terminal = wants_colour(sys.stderr.isatty())
    if step.state is StepState.RUNNING:
        if on_terminal:
            print(_line(step), end="\r", file=sys.stderr, flush=True)
        return
    print(_line(step), file=sys.stderr)
    for name, detail in step.notes:
        print(f"{'  ' * step.depth}    {paint(f'{name:<22}', 'dim')} {detail}", file=sys.stderr)


def _line(step: Step) -> str:
    symbol, style = _MARKS[step.state]
    time = f"{step.elapsed_s:7.3f} s" if step.state is not StepState.RUNNING else " " * 9
    return f"{'  ' * step.depth}{paint(symbol, style)} {step.title:<18} {time}  {step.detail}"
