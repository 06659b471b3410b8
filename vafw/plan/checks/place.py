"""Where a complaint points: the value where it is short, else the key above it."""

from __future__ import annotations

from vafw.document.load import Document
from vafw.document.model import Head
from vafw.document.source import Span
from vafw.document.tree import ScalarNode, Step, descend


def span_at(document: Document[Head], *path: Step) -> Span:
    """The value at `path`; its key where the value takes several lines; the nearest key above where there is none.

    Entry 0 of a list that is written as one value is that value.
    """
    nodes = list(descend(document.tree, path))
    whole = len(nodes) == len(path) + 1
    if isinstance(nodes[-1], ScalarNode) or (whole and nodes[-1].span.line == nodes[-1].span.end_line):
        return nodes[-1].span
    return document.key_at(*path[: len(nodes) - 1])


def is_written(document: Document[Head], *path: Step) -> bool:
    """Whether the document says something at `path`, and does not leave it to the default."""
    return len(list(descend(document.tree, path))) == len(path) + 1
