"""A plan as an SVG picture, legible on light and dark pages.

Three layers, as in the machine: VMs on top in path order from the wire to the user, then the VMM, then the devices,
each below the VM it is assigned to. VMs beside the path stand to the right; links beside the path arch over the row.
Positions are whole numbers and text widths are estimated, so the same plan always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import accumulate, pairwise
from typing import Final

from vafw.machine.inventory import PciFunction
from vafw.plan.graph.outline import Outline, function_caption, is_user_os, outline, share
from vafw.plan.plan import Plan, VmPlan

_MARGIN: Final = 24
_WIRE_COLUMN: Final = 76
_VM_HEIGHT: Final = 72
_VM_WIDTH: Final = 132
_GAP: Final = 84
_ARCH: Final = 30
_BAND_HEIGHT: Final = 26
_LAYER_GAP: Final = 34
_DEVICE_WIDTH: Final = 112
_DEVICE_HEIGHT: Final = 44
_DEVICE_GAP: Final = 12
_FURTHER_WIRE: Final = 60
_LETTER: Final = 7
"""Estimated width of a letter, in pixels."""

_STYLE: Final = """
  text { font-family: ui-sans-serif, system-ui, sans-serif; font-size: 12px; fill: #374151; text-anchor: middle; }
  .name { font-size: 14px; font-weight: 600; fill: #111827; }
  .small { font-size: 11px; fill: #6b7280; }
  .vm { fill: #f9fafb; stroke: #9ca3af; stroke-width: 1.5; }
  .user { stroke: #374151; stroke-width: 2; }
  .band { fill: #e5e7eb; }
  .device { fill: none; stroke: #9ca3af; stroke-width: 1.5; stroke-dasharray: 5 3; }
  .link { fill: none; stroke: #6b7280; stroke-width: 1.5; }
  .beside { stroke-dasharray: 2 4; stroke-linecap: round; }
  .assigned { fill: none; stroke: #2563eb; stroke-width: 2; }
  .head { fill: #2563eb; }
  .vtd { fill: #2563eb; text-anchor: start; }
  @media (prefers-color-scheme: dark) {
    text { fill: #d1d5db; }
    .name { fill: #f9fafb; }
    .small { fill: #9ca3af; }
    .vm { fill: #1f2937; stroke: #6b7280; }
    .user { stroke: #d1d5db; }
    .band { fill: #374151; }
    .link { stroke: #9ca3af; }
    .assigned { stroke: #60a5fa; }
    .head, .vtd { fill: #60a5fa; }
  }
"""


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def centre(self) -> int:
        return self.y + self.height // 2


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything stands."""

    vms: dict[str, _Box]
    devices: dict[str, _Box]
    band: _Box
    width: int
    height: int


def svg(plan: Plan) -> str:
    """The plan as one SVG document."""
    parts = outline(plan)
    layout = _lay_out(parts)
    title = escape(f"{plan.name}: from the wire to {plan.path[-1]}")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{layout.width}" height="{layout.height}" '
        f'viewBox="0 0 {layout.width} {layout.height}" role="img" aria-label="{title}">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
        *_band(layout.band),
        *_links(parts, layout),
        *_wire(parts, layout),
        *(line for vm in (*parts.path, *parts.beside) for line in _vm(vm, layout)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _lay_out(parts: Outline) -> _Layout:
    vms = (*parts.path, *parts.beside)
    widths = [_vm_width(vm) for vm in vms]
    gaps = [max(_GAP, len(link.name) * _LETTER + 16) for link in parts.path_links] + [_GAP] * len(parts.beside)
    starts = accumulate((width + gap for width, gap in zip(widths, gaps, strict=False)), initial=_MARGIN + _WIRE_COLUMN)
    top = _MARGIN + _ARCH * len(parts.beside_links)
    boxes = {vm.name: _Box(x, top, width, _VM_HEIGHT) for vm, x, width in zip(vms, starts, widths, strict=False)}
    first, last = boxes[vms[0].name], boxes[vms[-1].name]
    band = _Box(first.x - 12, first.bottom + _LAYER_GAP, last.right - first.x + 24, _BAND_HEIGHT)
    devices = {
        function.name: box
        for vm in vms
        for function, box in zip(vm.functions, _device_row(boxes[vm.name], vm, band), strict=True)
    }
    bottom = band.bottom + _LAYER_GAP + _DEVICE_HEIGHT + (_FURTHER_WIRE if parts.further_wires else 0)
    return _Layout(boxes, devices, band, width=band.right + _MARGIN, height=bottom + _MARGIN)


def _vm_width(vm: VmPlan) -> int:
    devices = len(vm.functions) * (_DEVICE_WIDTH + _DEVICE_GAP) - _DEVICE_GAP
    text = max(len(vm.name) + 1, len(vm.image.name), len(share(vm))) * _LETTER + 20
    return max(_VM_WIDTH, devices, text)


def _device_row(above: _Box, vm: VmPlan, band: _Box) -> Iterator[_Box]:
    whole = len(vm.functions) * (_DEVICE_WIDTH + _DEVICE_GAP) - _DEVICE_GAP
    for position in range(len(vm.functions)):
        x = above.middle - whole // 2 + position * (_DEVICE_WIDTH + _DEVICE_GAP)
        yield _Box(x, band.bottom + _LAYER_GAP, _DEVICE_WIDTH, _DEVICE_HEIGHT)


def _vm(vm: VmPlan, layout: _Layout) -> Iterator[str]:
    box = layout.vms[vm.name]
    yield _rectangle(box, "vm user" if is_user_os(vm) else "vm", radius=8)
    yield _text(box.middle, box.y + 24, vm.name, "name")
    yield _text(box.middle, box.y + 43, vm.image.name)
    yield _text(box.middle, box.y + 60, share(vm), "small")
    for function in vm.functions:
        yield from _device(function, layout.devices[function.name], box)


def _device(function: PciFunction, box: _Box, owner: _Box) -> Iterator[str]:
    tip = owner.bottom + 1
    yield _rectangle(box, "device", radius=4)
    yield _text(box.middle, box.y + 19, function.name)
    yield _text(box.middle, box.y + 35, function_caption(function), "small")
    yield f'<path class="assigned" d="M{box.middle} {box.y} V{tip + 8}"/>'
    yield f'<path class="head" d="M{box.middle} {tip} l-5 9 h10 z"/>'
    yield _text(box.middle + 7, box.y - 10, "VT-d", "small vtd")


def _band(band: _Box) -> Iterator[str]:
    yield _rectangle(band, "band", radius=4)
    yield f'<text x="{band.x + 12}" y="{band.centre + 4}" style="text-anchor: start">VMM</text>'


def _wire(parts: Outline, layout: _Layout) -> Iterator[str]:
    nic = layout.devices[parts.wire.name]
    x = _MARGIN + 22
    yield f'<path class="link" d="M{x + 22} {nic.centre} H{nic.x}"/>'
    yield f'<circle class="link" cx="{x}" cy="{nic.centre}" r="22"/>'
    yield _text(x, nic.centre + 4, "wire")
    for each in parts.further_wires:
        card = layout.devices[each.name]
        y = card.bottom + _FURTHER_WIRE - 22
        yield f'<path class="link" d="M{card.middle} {card.bottom} V{y - 22}"/>'
        yield f'<circle class="link" cx="{card.middle}" cy="{y}" r="22"/>'
        yield _text(card.middle, y + 4, "wire")


def _links(parts: Outline, layout: _Layout) -> Iterator[str]:
    for link, (outer, inner) in zip(parts.path_links, pairwise(parts.path), strict=True):
        left, right = layout.vms[outer.name], layout.vms[inner.name]
        yield f'<path class="link" d="M{left.right} {left.centre} H{right.x}"/>'
        yield _text((left.right + right.x) // 2, left.centre - 8, link.name, "small")
    for level, link in enumerate(parts.beside_links, start=1):
        start, end = layout.vms[link.outer.vm], layout.vms[link.inner.vm]
        height = start.y - _ARCH * level + 10
        # Higher arches stand wider, so that none crosses another.
        apart = 8 * level if start.x <= end.x else -8 * level
        one, other = start.middle - apart, end.middle + apart
        yield f'<path class="link beside" d="M{one} {start.y} V{height} H{other} V{end.y}"/>'
        caption = f"{link.name}: {link.outer.port} to {link.inner.port}"
        yield _text((one + other) // 2, height - 5, caption, "small")


def _rectangle(box: _Box, style: str, *, radius: int) -> str:
    place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
    return f'<rect class="{style}" {place} rx="{radius}"/>'


def _text(x: int, y: int, text: str, style: str = "") -> str:
    class_ = f' class="{style}"' if style else ""
    return f'<text{class_} x="{x}" y="{y}">{escape(text)}</text>'
