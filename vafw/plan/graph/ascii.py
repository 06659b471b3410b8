"""A plan as lines for a terminal, from the wire at the top to the user at the bottom; 80 columns suffice.

Drawn downwards and not across: five appliances side by side would not fit a terminal, five below each other do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vafw.plan.graph.outline import Outline, function_caption, outline, share
from vafw.plan.plan import LinkPlan, Plan, VmPlan


@dataclass(frozen=True, slots=True)
class _Strokes:
    """The characters that boxes and lines are made of."""

    across: str
    down: str
    corners: tuple[str, str, str, str]
    """Top left, top right, bottom left, bottom right."""
    enter: str
    """Where a link meets the top of a box."""
    leave: str
    """Where a link leaves the bottom of a box."""
    assigned: str
    """From a box to a device that belongs to it."""
    gives: str
    """From a device down to the box that it belongs to."""


_UNICODE = _Strokes("─", "│", ("┌", "┐", "└", "┘"), "┴", "┬", "◀══", "▼")
_PLAIN = _Strokes("-", "|", ("+", "+", "+", "+"), "+", "+", "<==", "v")


def ascii_graph(plan: Plan, *, unicode: bool = True) -> str:
    """The plan drawn with box characters, or with plain ASCII where the terminal has no others."""
    return "\n".join(_lines(outline(plan), _UNICODE if unicode else _PLAIN)) + "\n"


def _lines(parts: Outline, strokes: _Strokes) -> Iterator[str]:
    vms = (*parts.path, *parts.beside)
    columns = tuple(max(len(row[index]) for row in map(_row, vms)) for index in range(3))
    yield "wire"
    yield f"  {strokes.down}"
    yield f"{parts.wire.name}  {function_caption(parts.wire)}"
    yield f"  {strokes.gives} VT-d"
    for position, vm in enumerate(parts.path):
        last = position == len(parts.path) - 1
        yield from _box(vm, columns, strokes, parts, enters=position > 0, leaves=not last)
        if not last:
            yield f"  {strokes.down} {parts.path_links[position].name}"
    if parts.beside:
        yield ""
        yield "beside the path"
    for vm in parts.beside:
        yield from _box(vm, columns, strokes, parts, enters=False, leaves=False)
    yield from (_link(link, strokes) for link in parts.beside_links)


def _row(vm: VmPlan) -> tuple[str, str, str]:
    return vm.name, vm.image.name, share(vm)


def _box(
    vm: VmPlan, columns: Sequence[int], strokes: _Strokes, parts: Outline, *, enters: bool, leaves: bool
) -> Iterator[str]:
    text = "  ".join(cell.ljust(width) for cell, width in zip(_row(vm), columns, strict=True))
    rule = strokes.across * (len(text) + 2)
    top_left, top_right, bottom_left, bottom_right = strokes.corners
    rows = [
        top_left + _joined(rule, strokes.enter if enters else "") + top_right,
        f"{strokes.down} {text} {strokes.down}",
        bottom_left + _joined(rule, strokes.leave if leaves else "") + bottom_right,
    ]
    devices = [function for function in vm.functions if function != parts.wire]
    for position, function in enumerate(devices):
        # The first beside the text, the next below and above it: three devices need no more lines than one.
        wire = f" {strokes.across * 2} wire" if function in parts.further_wires else ""
        rows[(position + 1) % 3] += f" {strokes.assigned} {function.name} {function_caption(function)}{wire}"
    yield from rows


def _joined(rule: str, joint: str) -> str:
    return rule[0] + joint + rule[2:] if joint else rule


def _link(link: LinkPlan, strokes: _Strokes) -> str:
    return f"{link.name}: {link.outer} {strokes.across * 3} {link.inner}"
