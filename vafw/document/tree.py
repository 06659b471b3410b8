"""YAML text as a tree of values in which every key and value knows its place.

The parser is libyaml's, taken event by event; what the events mean is decided here, and strictly:

- one document; keys are text and unique; the core schema of YAML 1.2 gives values (`scalar`); no tags but its own;
- an alias is the finished node that it stands for, with that node's place; inside its own anchor it is refused, so
  there are no cycles;
- `NODE_LIMIT` bounds the tree *with aliases written out* and `DEPTH_LIMIT` its depth. Both are known from the sizes of
  finished nodes while parsing, before anything walks the tree: nine lines of nine aliases each are refused in no time.

PyYAML's `compose` would build such nodes too, but recursively, and it silently accepts duplicate keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

import yaml

from vafw.document.diagnostic import Diagnostic, Label, shown
from vafw.document.scalar import TAGS, Scalar, Unresolvable, plain_value, tag_text, tagged_value
from vafw.document.source import Source, Span

NODE_LIMIT: Final = 250_000
"""Nodes that a document may have, counting each alias as all that it stands for."""
DEPTH_LIMIT: Final = 64
"""How deep mappings and sequences may nest."""

MOST_COMPLAINTS: Final = 200
"""After how many complaints the rest of a text is not read."""

Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser, or PyYAML's own where that was built without libyaml; both give the same events and marks."""

Tree: TypeAlias = "ScalarNode | SequenceNode | MappingNode"
Step: TypeAlias = str | int
"""A key of a mapping or an index of a sequence; a path is several of them."""


class ScalarNode(NamedTuple):
    """Text, a number, true, false or null; a named tuple for the reason that `Span` is one."""

    span: Span
    value: Scalar
    size: int = 1
    height: int = 0


@dataclass(slots=True)
class SequenceNode:
    """A list."""

    span: Span
    items: list[Tree] = field(default_factory=list)
    size: int = 1
    height: int = 1

    def add(self, node: Tree) -> None:
        """Append a finished node."""
        self.items.append(node)
        self.size += node.size
        if node.height >= self.height:
            self.height = node.height + 1


@dataclass(slots=True)
class MappingNode:
    """Keys, each with its place, and what stands under them."""

    span: Span
    keys: dict[str, Span] = field(default_factory=dict)
    values: dict[str, Tree] = field(default_factory=dict)
    size: int = 1
    height: int = 1
    pending: tuple[str, Span] | None = None
    """While parsing: the key whose value comes next."""

    def add(self, node: Tree) -> None:
        """Take a finished node as the value of the pending key; the first of two equal keys stays."""
        if self.pending is None:
            raise ValueError("a mapping must be given a key before a value")
        key, span = self.pending
        self.pending = None
        if key not in self.keys:
            self.keys[key] = span
            self.values[key] = node
        self.size += node.size + 1
        if node.height >= self.height:
            self.height = node.height + 1


def plain(node: Tree) -> object:
    """The tree as dicts, tuples and scalars."""
    if isinstance(node, MappingNode):
        return {key: plain(value) for key, value in node.values.items()}
    if isinstance(node, SequenceNode):
        return tuple(plain(item) for item in node.items)
    return node.value


def descend(node: Tree, path: tuple[Step, ...]) -> Iterator[Tree]:
    """The nodes along `path`, the root first, as far as they exist."""
    yield node
    for step in path:
        if isinstance(node, MappingNode) and step in node.values:
            node = node.values[str(step)]
        elif isinstance(node, SequenceNode) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
        else:
            return
        yield node


def parse(source: Source) -> tuple[Tree | None, list[Diagnostic]]:
    """The tree of a document, or None, and all that is wrong with its text as YAML."""
    builder = _Builder(source)
    try:
        loader = Loader(source.text)
        try:
            builder.read(loader.get_event)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        builder.diagnostics.append(Diagnostic("VAFW-Y001", *_syntax(error, source)))
    except _Hopeless:
        return None, builder.diagnostics
    except (yaml.YAMLError, UnicodeError, ValueError, OverflowError) as error:
        builder.diagnostics.append(Diagnostic("VAFW-Y001", f"the text must be YAML: {error}", source.start))
    return builder.root, builder.diagnostics


class _Hopeless(Exception):
    """A diagnostic was made after which reading on makes no sense."""


class _Builder:
    """Turns events into a tree."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: Tree | None = None
        self.diagnostics: list[Diagnostic] = []
        self._open: list[SequenceNode | MappingNode] = []
        self._anchors: dict[str, Tree] = {}
        self._anchor_of: list[str | None] = []
        self._size = 0
        self._documents = 0

    def complain(self, code: str, message: str, span: Span, label: str = "", **more: Any) -> None:
        """Note something wrong and go on, unless it is more than anybody reads."""
        self.diagnostics.append(Diagnostic(code, message, span, label, **more))
        if len(self.diagnostics) == MOST_COMPLAINTS:
            raise _Hopeless

    def read(self, next_event: Callable[[], Any]) -> None:
        """Take every event up to the end of the text."""
        takers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.DocumentStartEvent: self._begin,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._sequence,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceEndEvent: self._leave,
            yaml.MappingEndEvent: self._leave,
        }
        while (kind := type(event := next_event())) is not yaml.StreamEndEvent:
            if (taker := takers.get(kind)) is not None:
                taker(event)

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return Span(self.source, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def _sequence(self, event: Any) -> None:
        self._check_tag(event, "seq")
        self._enter(SequenceNode(self._span(event)), event)

    def _mapping(self, event: Any) -> None:
        self._check_tag(event, "map")
        self._enter(MappingNode(self._span(event)), event)

    def _alias(self, event: Any) -> None:
        self._put(self._aliased(event))

    def _begin(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._give_up(
                "VAFW-Y006",
                "a file must hold one document, and a second one begins here",
                event,
                hint="put it in a file of its own",
            )

    def _give_up(self, code: str, message: str, event: Any, label: str = "", **more: Any) -> NoReturn:
        self.complain(code, message, self._span(event), label, **more)
        self.root = None
        raise _Hopeless

    def _enter(self, node: SequenceNode | MappingNode, event: Any) -> None:
        if self._awaits_key():
            self._give_up("VAFW-Y005", "a key must be text, not a list or a mapping", event)
        self._check_depth(node.height, event)
        self._count(1, event)
        self._open.append(node)
        self._anchor_of.append(event.anchor)

    def _leave(self, event: Any) -> None:
        node = self._open.pop()
        anchor = self._anchor_of.pop()
        node.span = self._whole(node, event)
        if anchor is not None:
            self._anchors[anchor] = node
        self._put(node)

    def _whole(self, node: SequenceNode | MappingNode, event: Any) -> Span:
        """From the beginning to the closing bracket, or, in block style, to the end of the last value."""
        start, end = node.span, self._span(event)
        if (end.line, end.column) == (end.end_line, end.end_column):
            inside = node.items if isinstance(node, SequenceNode) else list(node.values.values())
            end = max(
                (each.span for each in inside if each.span.line >= start.line),
                default=start,
                key=lambda span: (span.end_line, span.end_column),
            )
        return Span(self.source, start.line, start.column, end.end_line, end.end_column)

    def _scalar(self, event: Any) -> None:
        span = self._span(event)
        self._count(1, event)
        holder = self._open[-1] if self._open else None
        if type(holder) is MappingNode and holder.pending is None:
            self._key(holder, event, span)
            return
        node = ScalarNode(span, self._value(event, span))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if holder is None:
            self.root = node
        else:
            holder.add(node)

    def _value(self, event: Any, span: Span) -> Scalar:
        plain_style = event.implicit[0]
        try:
            if event.tag is not None:
                return tagged_value(event.value, event.tag)
            return plain_value(event.value) if plain_style else str(event.value)
        except Unresolvable as problem:
            self.complain("VAFW-Y007" if event.tag is not None else "VAFW-Y010", str(problem), span)
            return None

    def _key(self, mapping: MappingNode, event: Any, span: Span) -> None:
        value = self._value(event, span)
        if value == "<<" and event.implicit[0]:
            self.complain(
                "VAFW-Y011",
                "merge keys (<<) are no part of YAML 1.2 and are refused",
                span,
                hint="write the keys out, or let an alias stand for the whole mapping",
            )
        elif not isinstance(value, str):
            self.complain(
                "VAFW-Y005",
                f"a key must be text, not {event.value or 'nothing'}",
                span,
                hint=f'put it in quotes: "{event.value}"' if event.value else "write a key before the colon",
            )
        elif value in mapping.keys:
            self.complain(
                "VAFW-Y004",
                f"the key {shown(value)} must stand only once in a mapping",
                span,
                "here again",
                related=(Label(mapping.keys[value], "first here"),),
                hint="delete one of the two",
            )
        if event.anchor is not None:
            self._anchors[event.anchor] = ScalarNode(span, value)
        mapping.pending = (str(event.value), span)

    def _aliased(self, event: Any) -> Tree:
        name = event.anchor
        if self._awaits_key():
            self._give_up("VAFW-Y005", "a key must be text, not an alias", event)
        if name in self._anchor_of:
            self._give_up("VAFW-Y009", f"the alias *{name} must not stand inside what it stands for", event)
        target = self._anchors.get(name)
        if target is None:
            self._give_up("VAFW-Y001", f"the alias *{name} must name an anchor that stands before it", event)
        self._count(target.size, event)
        self._check_depth(target.height, event)
        return target

    def _put(self, node: Tree) -> None:
        if self._open:
            self._open[-1].add(node)
        else:
            self.root = node

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], MappingNode) and self._open[-1].pending is None

    def _count(self, nodes: int, event: Any) -> None:
        self._size += nodes
        if self._size > NODE_LIMIT:
            self._give_up(
                "VAFW-Y008",
                f"a document must have at most {NODE_LIMIT} values, each alias counted as all that it stands for",
                event,
                "one too many here",
            )

    def _check_depth(self, height: int, event: Any) -> None:
        if len(self._open) + height > DEPTH_LIMIT:
            self._give_up(
                "VAFW-Y008", f"mappings and lists must nest at most {DEPTH_LIMIT} deep", event, "too deep here"
            )

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", TAGS + kind):
            message = f"the tag {tag_text(event.tag)} is not known; documents here need no tags"
            self._give_up("VAFW-Y007", message, event, hint="delete the tag")


def _syntax(error: yaml.MarkedYAMLError, source: Source) -> tuple[str, Span]:
    """The parser's complaint as a sentence, and its place."""
    mark = error.problem_mark or error.context_mark
    context = f" ({error.context})" if error.context else ""
    message = f"the text must be YAML: {error.problem}{context}"
    if mark is None:
        return message, source.start
    line = min(mark.line, len(source.lines) - 1)
    column = min(mark.column, len(source.lines[line])) + 1
    return message, Span(source, line + 1, column, line + 1, column)
