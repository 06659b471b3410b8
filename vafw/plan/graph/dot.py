"""A plan as a DOT graph, for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from vafw.plan.graph.outline import Outline, function_caption, is_user_os, outline, share
from vafw.plan.plan import Plan, VmPlan


def dot(plan: Plan) -> str:
    """The plan as an undirected-looking ``digraph``, laid out from the wire to the user."""
    return "\n".join(_lines(plan.name, outline(plan))) + "\n"


def _lines(name: str, parts: Outline) -> Iterator[str]:
    vms = (*parts.path, *parts.beside)
    yield f'digraph "{name}" {{'
    yield '  graph [rankdir=LR, bgcolor="transparent", fontname="sans-serif", fontcolor="#6b7280"];'
    yield '  node [fontname="sans-serif", fontsize=11, color="#6b7280", fontcolor="#6b7280"];'
    yield '  edge [fontname="sans-serif", fontsize=9, color="#6b7280", fontcolor="#6b7280"];'
    yield '  "wire" [shape=circle, label="wire"];'
    yield from (f'  "wire {each.name}" [shape=circle, label="wire"];' for each in parts.further_wires)
    for vm in vms:
        yield f'  "vm {vm.name}" [{_vm_attributes(vm)}];'
    for vm in vms:
        for function in vm.functions:
            caption = f"{function.name}\\n{function_caption(function)}"
            yield f'  "device {function.name}" [shape=component, label="{caption}"];'
    yield f'  "wire" -> "device {parts.wire.name}" [dir=none];'
    yield from (f'  "wire {each.name}" -> "device {each.name}" [dir=none];' for each in parts.further_wires)
    for vm in vms:
        for function in vm.functions:
            yield f'  "device {function.name}" -> "vm {vm.name}" [label="VT-d", style=bold];'
    for link in parts.path_links:
        yield f'  "vm {link.outer.vm}" -> "vm {link.inner.vm}" [label="{link.name}", dir=none];'
    for link in parts.beside_links:
        ports = f'taillabel="{link.outer.port}", headlabel="{link.inner.port}"'
        yield (
            f'  "vm {link.outer.vm}" -> "vm {link.inner.vm}" '
            f'[label="{link.name}", {ports}, dir=none, style=dashed, constraint=false];'
        )
    yield "}"


def _vm_attributes(vm: VmPlan) -> str:
    style = "rounded,bold" if is_user_os(vm) else "rounded"
    return f'shape=box, style="{style}", label="{vm.name}\\n{vm.image.name}\\n{share(vm)}"'
