"""A plan as a Mermaid flowchart, for Markdown pages."""

from __future__ import annotations

from collections.abc import Iterator

from vafw.plan.graph.outline import Outline, function_caption, is_user_os, outline, share
from vafw.plan.plan import LinkPlan, Plan, VmPlan


def mermaid(plan: Plan) -> str:
    """The plan as ``flowchart LR``; assignments are thick arrows, links plain lines with their names."""
    return "\n".join(_lines(outline(plan))) + "\n"


def _lines(parts: Outline) -> Iterator[str]:
    vms = (*parts.path, *parts.beside)
    yield "flowchart LR"
    yield '    wire(("wire"))'
    yield from (f'    {_id("wire", each.name)}(("wire"))' for each in parts.further_wires)
    yield from (_vm(vm) for vm in vms)
    for vm in vms:
        for function in vm.functions:
            yield f'    {_id("device", function.name)}[/"{function.name}<br/>{function_caption(function)}"/]'
    yield f"    wire --- {_id('device', parts.wire.name)}"
    yield from (f"    {_id('wire', each.name)} --- {_id('device', each.name)}" for each in parts.further_wires)
    for vm in vms:
        for function in vm.functions:
            yield f"    {_id('device', function.name)} ==>|VT-d| {_id('vm', vm.name)}"
    for link in parts.path_links:
        yield f"    {_id('vm', link.outer.vm)} ---|{link.name}| {_id('vm', link.inner.vm)}"
    yield from (_beside(link) for link in parts.beside_links)


def _vm(vm: VmPlan) -> str:
    opening, closing = ("([", "])") if is_user_os(vm) else ("[", "]")
    return f'    {_id("vm", vm.name)}{opening}"<b>{vm.name}</b><br/>{vm.image.name}<br/>{share(vm)}"{closing}'


def _beside(link: LinkPlan) -> str:
    return (
        f"    {_id('vm', link.outer.vm)} -.-|{link.name}: {link.outer.port} to {link.inner.port}| "
        f"{_id('vm', link.inner.vm)}"
    )


def _id(kind: str, name: str) -> str:
    # A prefix, since Mermaid reads a bare `end` or a leading `o` or `x` as syntax.
    return f"{kind}-{name}"
