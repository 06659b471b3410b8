"""Pictures of a plan as text: Mermaid, DOT, SVG, and lines for a terminal. Pure functions, stable to the byte."""

from vafw.plan.graph.render import GraphFormat, render

__all__ = ["render", "GraphFormat"]
