"""What `vafw check` says of a text that need not be saved, and what surrounds it: its machine and its appliances."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vafw.document import catalog
from vafw.document.appliance import Appliance
from vafw.document.diagnostic import Diagnostic, DocumentInvalid
from vafw.document.load import load_document, read_topology
from vafw.document.machine import Device, Machine
from vafw.document.source import Source, Unreadable
from vafw.document.tree import MappingNode, SequenceNode, Step, Tree, parse
from vafw_tui.round_trip import Place


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a form offers to choose from; empty where a file is missing or wrong."""

    machine: str = ""
    devices: Mapping[str, Device] = field(default_factory=dict)
    appliances: Mapping[str, Appliance] = field(default_factory=dict)


def judge(text: str, path: Path) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with the topology in `text`, as if it stood in `path`."""
    from vafw.plan.compile import check  # deferred: the first frame is drawn before the first verdict

    try:
        return check(read_topology(Source.of_text(text, path)))
    except DocumentInvalid as invalid:
        return invalid.diagnostics


def read(text: str, path: Path) -> Tree | None:
    """The text's tree; None where it is not YAML."""
    tree, problems = parse(Source.of_text(text, path))
    return None if problems else tree


def surroundings(folder: Path, machine: str) -> Surroundings:
    """The machine in the file `machine` and every appliance that could be used."""
    known: dict[str, Appliance] = {}
    for name, home in catalog.appliances(folder).items():
        with suppress(DocumentInvalid, Unreadable):
            known[name] = load_document(home / catalog.MANIFEST, Appliance).model
    with suppress(DocumentInvalid, Unreadable, ValueError):
        if machine and (folder / machine).is_file():
            model = load_document(folder / machine, Machine).model
            return Surroundings(model.name, model.devices, known)
    return Surroundings(appliances=known)


def place_at(tree: Tree | None, line: int) -> Place:
    """The keys and indexes that lead to what stands in a line (from 1) of the text."""
    steps: list[Step] = []
    while tree is not None and (inner := _last_begun(tree, line)) is not None:
        step, tree = inner
        steps.append(step)
        if tree.span.end_line == tree.span.line != line:
            break
    return tuple(steps)


def _last_begun(tree: Tree, line: int) -> tuple[Step, Tree] | None:
    """The last entry of a mapping or list that begins in a line or above it."""
    if isinstance(tree, MappingNode):
        begun: list[tuple[int, Step, Tree]] = [
            (span.line, key, tree.values[key]) for key, span in tree.keys.items() if span.line <= line
        ]
    elif isinstance(tree, SequenceNode):
        begun = [(each.span.line, at, each) for at, each in enumerate(tree.items) if each.span.line <= line]
    else:
        return None
    if not begun:
        return None
    _, step, inner = max(begun, key=lambda each: each[0])
    return step, inner
