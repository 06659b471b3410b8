"""A scene as lines for a terminal, from the wire at the top to the user at the bottom, and where each part of it lies.

Pure: text, styles and areas; the widget puts them on the screen and turns clicks into things. What is selected has a
heavy frame, so that it is seen without colour; the state of a running VM stands in its box as symbol and word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from vafw_tui.marks import Mark, mark
from vafw_tui.scene import Kind, Scene, Thing, Vm

Piece: TypeAlias = tuple[str, str]
"""Some text and its style."""
Line: TypeAlias = tuple[Piece, ...]

LEAST_WIDTH: Final = 30
"""Columns below which the picture is cut instead of squeezed."""

_SELECTED: Final = "bold $text-accent"
_QUIET: Final = "$foreground-muted"


@dataclass(frozen=True, slots=True)
class Strokes:
    """The characters that boxes and lines are made of."""

    across: str
    down: str
    corners: tuple[str, str, str, str]
    """Top left, top right, bottom left, bottom right."""
    enter: str
    leave: str
    wire: str = "│"
    device: str = "◀═"
    into: str = "▼"


LIGHT: Final = Strokes("─", "│", ("┌", "┐", "└", "┘"), "┴", "┬")
HEAVY: Final = Strokes("━", "┃", ("┏", "┓", "┗", "┛"), "┷", "┯")
PLAIN: Final = Strokes("-", "|", ("+", "+", "+", "+"), "+", "+", "|", "<=", "v")
PLAIN_HEAVY: Final = Strokes("=", "|", ("#", "#", "#", "#"), "+", "+", "|", "<=", "v")


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is known beside the document: states, counters, captions, problems; each by the name of what it is about."""

    states: Mapping[str, Mark] = field(default_factory=dict)
    counters: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    """What a device is: ``02:00.0 network``."""
    problems: Mapping[Thing, int] = field(default_factory=dict)
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The picture."""

    lines: tuple[Line, ...]
    areas: tuple[tuple[range, Thing], ...]
    """The rows of each thing."""

    def thing_at(self, row: int) -> Thing | None:
        """What lies in a row."""
        return next((thing for rows, thing in self.areas if row in rows), None)

    def rows_of(self, thing: Thing) -> range:
        """Where a thing lies; nothing for one that is not drawn."""
        return next((rows for rows, each in self.areas if each == thing), range(0))


def draw(scene: Scene, overlay: Overlay, selected: Thing | None, width: int, *, unicode: bool = True) -> Drawing:
    """The picture of `scene` in `width` columns."""
    pen = _Pen(scene, overlay, selected, max(width, LEAST_WIDTH), unicode)
    pen.head()
    for position, vm in enumerate(scene.hops):
        if position:
            pen.link(scene.hop_links[position - 1])
        pen.box(vm, enters=bool(position or scene.wire), leaves=position < len(scene.hops) - 1)
    pen.aside()
    return Drawing(tuple(pen.lines), tuple(pen.areas))


class _Pen:
    """Draws line after line."""

    def __init__(self, scene: Scene, overlay: Overlay, selected: Thing | None, width: int, unicode: bool) -> None:
        self.scene = scene
        self.overlay = overlay
        self.selected = selected
        self.width = width
        self.unicode = unicode
        self.lines: list[Line] = []
        self.areas: list[tuple[range, Thing]] = []
        self.light = LIGHT if unicode else PLAIN

    def head(self) -> None:
        """The topology's name, the wire, and the card that it comes in by."""
        machine = f" on {self.overlay.machine}" if self.overlay.machine else ""
        self.row(Thing(Kind.TOPOLOGY, self.scene.name), ((self.scene.name, "bold"), (machine, _QUIET)), indent=0)
        if not self.scene.wire:
            return
        self.lines += [(("  wire", _QUIET),), ((f"  {self.light.wire}", _QUIET),)]
        owner = self.scene.owner(self.scene.wire)
        loose = owner != (self.scene.hops[0].name if self.scene.hops else "")
        said: Piece = (f"  {mark('error').symbol} not the first hop's", "$text-error") if loose else ("", "")
        self.row(
            Thing(Kind.DEVICE, self.scene.wire),
            ((f"{self.light.into} ", _QUIET), (self.scene.wire, ""), (self._caption(self.scene.wire), _QUIET), said),
        )

    def link(self, name: str) -> None:
        """A link of the path, with its counters where the topology runs."""
        counted = self.overlay.counters.get(name, "")
        pad = max(1, self.width - 5 - len(name) - len(counted))
        self.row(
            Thing(Kind.LINK, name),
            ((f"{self.light.wire} ", _QUIET), (name, ""), (f"{' ' * pad}{counted}", "$text-accent")),
        )

    def box(self, vm: Vm, *, enters: bool, leaves: bool) -> None:
        """A VM with its devices."""
        chosen = self.selected == vm.thing
        strokes = (HEAVY if self.unicode else PLAIN_HEAVY) if chosen else self.light
        frame = _SELECTED if chosen else ""
        start = len(self.lines)
        left, right, lower_left, lower_right = strokes.corners
        title: Line = ((f" {vm.name} ", _SELECTED if chosen else "bold"), *self._blame(vm))
        joint = strokes.enter if enters else strokes.across
        used = 3 + sum(len(text) for text, _ in title)
        fill = strokes.across * max(0, self.width - 1 - used)
        self.lines.append(((f"{left}{strokes.across}{joint}", frame), *title, (f"{fill}{right}", frame)))
        for line in self._facts(vm):
            self.lines.append(self._framed(line, strokes, frame))
        self.areas.append((range(start, len(self.lines)), vm.thing))
        for device in vm.devices:
            if not self.scene.is_at_wire(vm, device):
                self._device(device, strokes, frame)
        joint = strokes.leave if leaves else strokes.across
        end = f"{lower_left}{strokes.across}{joint}{strokes.across * (self.width - 4)}{lower_right}"
        self.lines.append(((end, frame),))
        self.areas.append((range(len(self.lines) - 1, len(self.lines)), vm.thing))

    def aside(self) -> None:
        """What stands beside the path: other VMs, other links, devices that nobody has."""
        if self.scene.beside or self.scene.links:
            self.lines += [(("", ""),), (("beside the path", _QUIET),)]
        for vm in self.scene.beside:
            self.box(vm, enters=False, leaves=False)
        for link in self.scene.links:
            self.row(link.thing, ((link.name, ""), (f"  {link.between}", _QUIET)))
        if self.scene.free:
            self.lines += [(("", ""),), (("no VM has", _QUIET),)]
        for device in self.scene.free:
            self.row(Thing(Kind.DEVICE, device), ((device, ""), (self._caption(device), _QUIET)))

    def row(self, thing: Thing, line: Line, indent: int = 2) -> None:
        """One line that is one thing."""
        self.areas.append((range(len(self.lines), len(self.lines) + 1), thing))
        self.lines.append((self._lead(thing, indent), *self._emphasised(thing, line)))

    def _device(self, name: str, strokes: Strokes, frame: str) -> None:
        thing = Thing(Kind.DEVICE, name)
        line: Line = ((f"{strokes.device} ", _QUIET), (name, ""), (self._caption(name), _QUIET))
        self.areas.append((range(len(self.lines), len(self.lines) + 1), thing))
        if thing == self.selected:
            line = (self._lead(thing, 2), *self._emphasised(thing, line))
        self.lines.append(self._framed(line, strokes, frame))

    def _lead(self, thing: Thing, indent: int) -> Piece:
        pointer = "▶ " if self.unicode else "> "
        return (pointer if thing == self.selected else " " * indent, _SELECTED)

    def _emphasised(self, thing: Thing, line: Line) -> Line:
        return tuple((text, _SELECTED) for text, _ in line) if thing == self.selected else line

    def _facts(self, vm: Vm) -> list[Line]:
        if not vm.declared:
            return [(("not declared", "$text-error"),)]
        state = self.overlay.states.get(vm.name)
        running: Line = ((f"{state.text}  ", state.style),) if state else ()
        whole: Line = (*running, (f"{vm.image}  ", ""), (vm.share, _QUIET))
        fits = sum(len(text) for text, _ in whole) <= self.width - 4
        return [whole if fits else whole[:-1]]

    def _blame(self, vm: Vm) -> Line:
        count = self.overlay.problems.get(vm.thing, 0)
        return ((f"{mark('error').symbol} {count} ", "$text-error"),) if count else ()

    def _caption(self, device: str) -> str:
        caption = self.overlay.captions.get(device)
        return f"  {caption}" if caption else ""

    def _framed(self, line: Line, strokes: Strokes, frame: str) -> Line:
        room = self.width - 4
        kept: list[Piece] = []
        for text, style in line:
            kept.append((text[:room], style))
            room -= len(text[:room])
        return ((f"{strokes.down} ", frame), *kept, (" " * room, ""), (f" {strokes.down}", frame))
