"""The formats a plan can be drawn in, and the one function that draws it."""

from __future__ import annotations

from enum import StrEnum

from vafw.plan.graph.ascii import ascii_graph
from vafw.plan.graph.dot import dot
from vafw.plan.graph.mermaid import mermaid
from vafw.plan.graph.svg import svg
from vafw.plan.plan import Plan


class GraphFormat(StrEnum):
    """How a plan can be drawn."""

    ASCII = "ascii"
    """Lines for a terminal."""
    MERMAID = "mermaid"
    """A flowchart for Markdown pages."""
    DOT = "dot"
    """A graph for Graphviz."""
    SVG = "svg"
    """A picture that fits light and dark pages."""


_RENDERERS = {
    GraphFormat.ASCII: ascii_graph,
    GraphFormat.MERMAID: mermaid,
    GraphFormat.DOT: dot,
    GraphFormat.SVG: svg,
}


def render(plan: Plan, form: GraphFormat) -> str:
    """The plan drawn in `form`, ending in a newline."""
    return _RENDERERS[form](plan)
