"""One value of a document changed: the text with the new value in it, read and checked as if a person had edited it.

    traffic.rules[web].service = [https, quic]      of the policy; `[web]` is the entry of that name
    config.block = [lists/ads.txt]                  of the appliance's own configuration in the topology

Nothing is patched behind the documents' backs: the value is put into the YAML text where the old one stands, the text
is parsed, and it must differ in that one place and in no other. What the change then compiles to is what the appliance
gets; whatever is wrong with it is a diagnostic that points into the changed text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar, final

from vafw.document.diagnostic import DocumentInvalid, did_you_mean
from vafw.document.load import Document, DocumentSet, read_document
from vafw.document.model import Head
from vafw.document.policy import Policy
from vafw.document.source import Source
from vafw.document.topology import Topology
from vafw.document.tree import MappingNode, SequenceNode, Step, Tree, descend, parse, plain
from vafw.errors import NoSuchObject, UsageError
from vafw.machine.capability import Capability
from vafw.plan.compile import compile_plan
from vafw.trace import Value

_STEP: Final = re.compile(r"(?P<key>[a-z][a-z0-9-]*)|\[(?P<entry>[^\[\]]{1,64})\]")
_POLICY: Final = "traffic"
"""What of a policy an appliance is configured from."""
_TOPOLOGY: Final = "config"

Model = TypeVar("Model", bound=Head)


@final
@dataclass(frozen=True, slots=True)
class Change:
    """One assignment, as a person wrote it."""

    path: str
    value: str
    """YAML, such as ``drop`` or ``[https, quic]``."""

    @classmethod
    def parse(cls, text: str) -> Change:
        """Read ``PATH=VALUE``; UsageError where it is none."""
        path, equals, value = text.partition("=")
        if not equals or not path.strip() or not value.strip():
            raise UsageError(
                f"a change must be written PATH=VALUE, not {text!r}", hint="traffic.rules[web].action=drop"
            )
        return cls(path.strip(), value.strip())

    def __str__(self) -> str:
        return f"{self.path}={self.value}"


def config_of(documents: DocumentSet, appliance: str) -> dict[str, Value]:
    """What the documents configure an appliance with; DocumentInvalid where they are wrong."""
    return dict(compile_plan(documents, ~Capability(0)).vm(appliance).config)


def texts_of(documents: DocumentSet) -> dict[str, Value]:
    """The texts that configurations are compiled from, so that `with_texts` can bring them back."""
    return {"policy": documents.policy.source.text, "topology": documents.topology.source.text}


def with_texts(documents: DocumentSet, texts: Mapping[str, Value]) -> DocumentSet:
    """The documents with the texts of an earlier moment."""
    policy, topology = documents.policy.source, documents.topology.source
    return replace(
        documents,
        policy=read_document(Source.of_text(str(texts["policy"]), policy.path), Policy),
        topology=read_document(Source.of_text(str(texts["topology"]), topology.path), Topology),
    )


def changed(documents: DocumentSet, appliance: str, change: Change) -> DocumentSet:
    """The documents after a change; DocumentInvalid, NoSuchObject or UsageError say why there can be none."""
    if change.path.partition(".")[0] == _POLICY:
        return replace(documents, policy=_rewritten(documents.policy, Policy, change))
    full = Change(_full_path(appliance, change.path), change.value)
    return replace(documents, topology=_rewritten(documents.topology, Topology, full))


def text_at(documents: DocumentSet, appliance: str, path: str) -> str:
    """What stands at a path, as YAML; NoSuchObject where nothing does."""
    in_policy = path.partition(".")[0] == _POLICY
    tree = documents.policy.tree if in_policy else documents.topology.tree
    steps = _steps(tree, path if in_policy else _full_path(appliance, path))
    found = list(descend(tree, steps))
    if len(found) <= len(steps):
        raise NoSuchObject(f"{path} must be in the documents, and is not")
    return found[-1].span.text.strip()


def _full_path(appliance: str, path: str) -> str:
    first = path.partition(".")[0].partition("[")[0]
    if first != _TOPOLOGY:
        known = f"{_POLICY} (of the policy) or {_TOPOLOGY} (of the appliance)"
        raise UsageError(f"a path must begin with {known}, not with {first!r}", hint="traffic.rules[web].action")
    return f"appliances.{appliance}.{path}"


def _rewritten(document: Document[Model], model: type[Model], change: Change) -> Document[Model]:
    steps = _steps(document.tree, change.path)
    wanted = _value(change)
    text = _text_with(document, steps, change.value)
    source = Source.of_text(text, document.source.path)
    tree, problems = parse(source)
    if tree is None or problems:
        raise DocumentInvalid(problems) if problems else UsageError(f"{change} must leave a document")
    if plain(tree) != _with(plain(document.tree), steps, wanted):
        raise UsageError(f"{change} must change one value and nothing beside it")
    return read_document(source, model)


def _value(change: Change) -> object:
    """The value alone, as YAML reads it."""
    tree, problems = parse(Source.of_text(f"value: {change.value}\n"))
    if problems or not isinstance(tree, MappingNode) or set(tree.values) != {"value"}:
        raise UsageError(f"the value of {change.path} must be one YAML value, not {change.value!r}")
    return plain(tree.values["value"])


def _steps(tree: Tree, path: str) -> tuple[Step, ...]:
    """A path as keys and indexes; an entry of a list may be named by its ``name``."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise UsageError(f"a path must be keys with dots and entries in brackets, not {path!r}")
        entry = found["entry"]
        steps.append(found["key"] if entry is None else _index(tree, tuple(steps), entry))
        at = found.end()
        if path[at : at + 1] == "." and at + 1 < len(path):
            at += 1
        elif path[at : at + 1] not in ("", "["):
            raise UsageError(f"a path must be keys with dots and entries in brackets, not {path!r}")
    return tuple(steps)


def _index(tree: Tree, above: tuple[Step, ...], entry: str) -> int:
    found = list(descend(tree, above))
    where = ".".join(map(str, above))
    if len(found) <= len(above) or not isinstance(found[-1], SequenceNode):
        raise NoSuchObject(f"{where} must be a list in the documents, and is none")
    items = found[-1].items
    names = [_name(each) for each in items]
    if entry in names:
        return names.index(entry)
    if entry.isdecimal() and int(entry) < len(items):
        return int(entry)
    known = [name for name in names if name]
    raise NoSuchObject(f"{where} must have an entry {entry!r}, and has none", hint=did_you_mean(entry, known))


def _name(node: Tree) -> str | None:
    value = plain(node)
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def _text_with(document: Document[Model], steps: tuple[Step, ...], value: str) -> str:
    """The text with `value` in the place of what stands there, or as a new key of the mapping above."""
    source, found = document.source, list(descend(document.tree, steps))
    if len(found) == len(steps) + 1:
        span = found[-1].span
        start, end = source.offset(span.line, span.column), source.offset(span.end_line, span.end_column)
        rest = source.text[start:end]
        end -= len(rest) - len(rest.rstrip())
        return source.text[:start] + value + source.text[end:]
    above = found[-1]
    if len(found) != len(steps) or not isinstance(above, MappingNode) or not isinstance(steps[-1], str):
        raise NoSuchObject(f"{'.'.join(map(str, steps[: len(found)]))} must be in the documents, and is not")
    start = source.offset(above.span.line, above.span.column)
    if source.text[start] == "{":
        comma = ", " if above.values else ""
        return f"{source.text[: start + 1]}{steps[-1]}: {value}{comma}{source.text[start + 1 :]}"
    first = next(iter(above.keys.values()))
    start = source.offset(first.line, first.column)
    return f"{source.text[:start]}{steps[-1]}: {value}\n{' ' * (first.column - 1)}{source.text[start:]}"


def _with(tree: object, steps: tuple[Step, ...], value: object) -> object:
    """A copy of a plain tree with one value changed."""
    if not steps:
        return value
    first, rest = steps[0], steps[1:]
    if isinstance(tree, dict):
        return {**tree, first: _with(tree.get(first), rest, value)}
    if isinstance(tree, tuple) and isinstance(first, int):
        return (*tree[:first], _with(tree[first], rest, value), *tree[first + 1 :])
    return value
