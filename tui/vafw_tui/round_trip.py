"""One change of a YAML text that leaves everything else as a person wrote it.

The change is made on ruamel.yaml's round-trip document, which keeps comments, anchors and quotes but has habits of its
own about spaces and line breaks. So only the lines that the change itself moved are taken from what ruamel writes; all
others stay byte for byte. What is taken out of a block is cut from the text, for ruamel counts a comment above the next
key to the entry before it.

Nothing here is believed: the new text is parsed by `vafw.document.tree`, must say exactly what the change says of the
plain data, and must have every comment of the old one. Otherwise the edit is refused and the text stays.
"""

from __future__ import annotations

import copy
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any, Final

from vafw.document.shape import key_span
from vafw.document.source import Source
from vafw.document.tree import MappingNode, SequenceNode, Step, Tree, descend, parse
from vafw.document.tree import plain as frozen
from vafw.errors import VafwError
from vafw_tui.comments import comments

Change = Callable[[Any], None]
"""Alters mappings and lists in place, plain ones as well as ruamel's; altering what is altered already does nothing."""
Place = tuple[Step, ...]

_WIDTH: Final = 4096
"""Columns before ruamel breaks a line: never."""


class EditRefused(VafwError):
    """An edit that cannot be made without losing something; the text stays as it is."""


def rewrite(text: str, change: Change, dropped: Callable[[Any], Iterable[Place]] = lambda _: ()) -> str:
    """`text` with `change` made; `dropped` names the places of a document that it takes out. EditRefused otherwise."""
    tree = _tree(text)
    wanted = plain(tree)
    places = [place for place in dropped(wanted) if len(list(descend(tree, place))) == len(place) + 1]
    change(wanted)
    must_stay = _comments_outside(text, tree, places)
    for candidate in _candidates(text, change, places):
        new, problems = parse(Source.of_text(candidate))
        if not problems and new is not None and plain(new) == wanted and not must_stay - _counted(candidate):
            return candidate
    raise EditRefused(
        "this edit must keep every comment and every other value, and it cannot here",
        hint="edit the YAML itself",
    )


def plain(tree: Tree) -> Any:
    """The tree as dicts, lists and scalars that may be altered."""
    return _thawed(frozen(tree))


def _thawed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _thawed(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_thawed(each) for each in value]
    return value


def _tree(text: str) -> Tree:
    tree, problems = parse(Source.of_text(text))
    if problems or not isinstance(tree, MappingNode):
        raise EditRefused("the text must be YAML before it can be edited here", hint="mend what the problems say first")
    return tree


def _candidates(text: str, change: Change, places: list[Place]) -> Iterable[str]:
    """New texts, the most faithful first."""
    from ruamel.yaml.error import YAMLError  # deferred, as all of ruamel: most who look do not edit

    for start in dict.fromkeys((_cut(text, places), text)):
        try:
            before, after = _dumped(start, lambda _: None), _dumped(start, change)
        except (YAMLError, ValueError, TypeError, AttributeError, KeyError):
            continue
        yield _merged(start, before, after)
        yield after


def _dumped(text: str, change: Change) -> str:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    sequence, offset = _indentation(text)
    yaml.indent(mapping=2, sequence=sequence, offset=offset)
    document = yaml.load(text)
    change(document)
    _in_flow_style(document)
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _indentation(text: str) -> tuple[int, int]:
    """How far lists are indented in `text`: as their key, or by two."""
    lines = text.split("\n")
    for above, line in pairwise(lines):
        if line.lstrip().startswith("- ") and above.rstrip().endswith(":"):
            outdented = len(line) - len(line.lstrip()) == len(above) - len(above.lstrip())
            return (2, 0) if outdented else (4, 2)
    return 4, 2


def _in_flow_style(node: Any) -> None:
    """Write every mapping and list that the change brought on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        if type(value) in (dict, list):
            made: Any = CommentedMap(copy.deepcopy(value)) if type(value) is dict else CommentedSeq(value)
            made.fa.set_flow_style()
            node[key] = made
        _in_flow_style(node[key])


def _merged(original: str, before: str, after: str) -> str:
    """`original` with the lines replaced that differ between `before` and `after`.

    `before` is `original` as ruamel writes it; where the two differ beside a change, ruamel's lines are taken.
    """
    kept, old, new = (_lines(each) for each in (original, before, after))
    home = _lines_of(kept, old)
    merged: list[str] = []
    done = 0
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        first, last = home[start][0], home[end - 1][1] if end > start else home[start][0]
        merged += kept[done:first]
        merged += new[new_start:new_end]
        done = max(first, last)
    return "".join(merged + kept[done:])


def _lines(text: str) -> list[str]:
    """The lines with their ends; a line ends where YAML says, and nowhere else."""
    *whole, rest = text.split("\n")
    return [*(f"{line}\n" for line in whole), *([rest] if rest else [])]


def _lines_of(kept: list[str], old: list[str]) -> list[tuple[int, int]]:
    """For each line of `old`, and for its end, where it begins and ends in `kept`."""
    home: list[tuple[int, int]] = []
    for tag, start, end, old_start, old_end in SequenceMatcher(None, kept, old, autojunk=False).get_opcodes():
        for number in range(old_end - old_start):
            home.append((start + number, start + number + 1) if tag == "equal" else (start, end))
    return [*home, (len(kept), len(kept))]


def _cut(text: str, places: Iterable[Place]) -> str:
    """`text` without the lines of the entries at `places`, as far as these have lines of their own."""
    tree = _tree(text)
    lines = _lines(text)
    gone: set[int] = set()
    for place in places:
        owned = _own_lines(text, tree, place)
        *_, parent = descend(tree, place[:-1])
        if owned and len(parent.items if isinstance(parent, SequenceNode) else _entries(parent)) > 1:
            gone |= set(owned)
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def _entries(node: Tree) -> Collection[str]:
    return node.keys if isinstance(node, MappingNode) else ()


def _own_lines(text: str, tree: Tree, place: Place) -> range:
    """The lines of an entry that shares none with another; nothing for one inside brackets."""
    *_, value = descend(tree, place)
    key, lead = key_span(tree, place) or value.span, "-" if isinstance(place[-1], int) else ""
    lines = text.split("\n")
    before, after = lines[key.line - 1][: key.column - 1], lines[value.span.end_line - 1][value.span.end_column - 1 :]
    if before.strip() != lead or (after.strip() and not after.lstrip().startswith("#")):
        return range(0)
    return range(key.line, value.span.end_line + 1)


def _comments_outside(text: str, tree: Tree, places: Iterable[Place]) -> Counter[str]:
    """Every comment that does not stand on the lines of what is taken out."""
    gone = {line for place in places for line in _own_lines(text, tree, place)}
    return Counter(comment for line, comment in comments(text) if line not in gone)


def _counted(text: str) -> Counter[str]:
    return Counter(comment for _, comment in comments(text))
