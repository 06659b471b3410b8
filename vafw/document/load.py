"""From files to documents: one file of a kind, or a topology with everything it names.

Everything that is wrong with everything that was read is found in one run. A file that a topology names must lie in the
topology's folder; a file that cannot be had is reported where it is named. What the documents say together is not
judged here: that is `plan`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Generic, TypeVar, cast

from vafw.document import catalog
from vafw.document.appliance import Appliance
from vafw.document.characters import refused_characters, refused_indentation
from vafw.document.codes import advice
from vafw.document.consistency import contradictions
from vafw.document.diagnostic import Diagnostic, DocumentInvalid, Label, nearest, shown
from vafw.document.machine import Machine
from vafw.document.model import FORMAT_VERSION, Head
from vafw.document.policy import Policy
from vafw.document.reference_values import ReferenceValuesDocument
from vafw.document.shape import described, fit, key_span
from vafw.document.source import Source, Span, Unreadable, read_beneath, read_source
from vafw.document.topology import Topology
from vafw.document.traffic_script import TrafficScript
from vafw.document.tree import MappingNode, ScalarNode, Step, Tree, descend, parse
from vafw.document.workload import Workload

KINDS: Final[Mapping[str, type[Head]]] = {
    "topology": Topology,
    "policy": Policy,
    "machine": Machine,
    "reference-values": ReferenceValuesDocument,
    "appliance": Appliance,
    "traffic-script": TrafficScript,
    "workload": Workload,
}
"""Every kind of document, with its model."""

_MISSING_HINTS: Final = {
    "machine": "`vafw doctor --save` writes one for this computer",
    "policy": "begin with a copy of a shipped one, such as policies/office-laptop/policy.yaml",
    "reference-values": "`vafw measure --write` writes it",
}

Model = TypeVar("Model", bound=Head)
AnyDocument_co = TypeVar("AnyDocument_co", bound=Head, covariant=True)


@dataclass(frozen=True, eq=False)
class Document(Generic[AnyDocument_co]):
    """A document that was read: what it says, and where it says it."""

    source: Source
    tree: Tree
    model: AnyDocument_co

    def at(self, *path: Step) -> Span:
        """The place of the value at `path` (keys as written, indexes from 0), or of the nearest one above it."""
        return list(descend(self.tree, path))[-1].span

    def key_at(self, *path: Step) -> Span:
        """The place of the key at `path`; of the value where it has no key."""
        return key_span(self.tree, path) or self.at(*path)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes as read, hexadecimal."""
        return self.source.sha256


@dataclass(frozen=True, eq=False)
class DocumentSet:
    """A topology and everything it names."""

    topology: Document[Topology]
    machine: Document[Machine]
    policy: Document[Policy]
    reference_values: Document[ReferenceValuesDocument] | None
    """None only where the caller said that it may be missing."""
    appliances: Mapping[str, Document[Appliance]]
    """Manifests of the appliances and of the user OS that the topology uses, as far as they exist."""
    catalog: Mapping[str, Path]
    """Every appliance that could be used, with its folder."""
    folder: Path
    """The folder of the topology, which every named file lies in."""

    @property
    def sha256(self) -> dict[str, str]:
        """SHA-256 of each document's bytes as read, by kind."""
        read = {"topology": self.topology, "machine": self.machine, "policy": self.policy}
        digests = {kind: document.sha256 for kind, document in read.items()}
        if self.reference_values is not None:
            digests["reference-values"] = self.reference_values.sha256
        return digests


def load_topology(path: Path, *, measuring: bool = False, environment: Mapping[str, str] | None = None) -> DocumentSet:
    """Read a topology and everything it names; DocumentInvalid carries all that is wrong in any of the files.

    With `measuring`, the reference values may be missing: they are about to be written. `environment` stands for the
    process's own (see `catalog`).
    """
    reader = _Reader(path.parent)
    source = reader.source(path)
    if source is None:
        raise reader.refusal()
    return reader.everything(source, reader.tree(source), measuring=measuring, environment=environment)


def load_any(path: Path, *, environment: Mapping[str, str] | None = None) -> DocumentSet | Document[Head]:
    """Read a topology with everything it names, or one document of another kind, whichever the file is."""
    reader = _Reader(path.parent)
    source = reader.source(path)
    tree = reader.tree(source) if source else None
    if source and _word(tree, "kind") == "topology":
        return reader.everything(source, tree, environment=environment)
    return _found(reader, reader.fitting(source, tree, Head) if source else None)


def load_document(path: Path, model: type[Model] = Head) -> Document[Model]:  # type: ignore[assignment]
    """Read one document, of any kind or of the one that `model` is; DocumentInvalid carries all that is wrong."""
    reader = _Reader(path.parent)
    return _found(reader, reader.file(path, model))


def read_document(source: Source, model: type[Model] = Head) -> Document[Model]:  # type: ignore[assignment]
    """The document in a text that was read already, for editors and tests; raises as `load_document` does."""
    reader = _Reader(source.path.parent)
    return _found(reader, reader.document(source, model))


def read_topology(source: Source, *, environment: Mapping[str, str] | None = None) -> DocumentSet:
    """The topology in a text that need not be saved, with everything it names as it lies beside `source.path`."""
    reader = _Reader(source.path.parent)
    return reader.everything(source, reader.tree(source), environment=environment)


def read_listed(documents: DocumentSet, span: Span, name: str) -> Source | Diagnostic:
    """Read the file `name` that the topology names at `span`, or say why it cannot be had."""
    return _read_listed(documents.folder, span, name)


def _found(reader: _Reader, document: Document[Model] | None) -> Document[Model]:
    if document is None or reader.found:
        raise reader.refusal()
    return document


def _read_listed(folder: Path, span: Span, name: str) -> Source | Diagnostic:
    try:
        source = read_beneath(folder, name)
    except Unreadable as problem:
        return _unreadable(problem, shown(name), span)
    return refused_characters(source) or source


def _unreadable(problem: Unreadable, name: str, span: Span) -> Diagnostic:
    """The diagnostic for a file that cannot be had; points into it where that is possible."""
    message = f"the file {name} cannot be read: {problem}"
    hint = problem.hint or advice(problem.code)
    if problem.span is None:
        return Diagnostic(problem.code, message, span, hint=hint)
    related = (Label(span, "named here"),) if span.source.text else ()
    return Diagnostic(problem.code, message, problem.span, "here", related, hint=hint)


class _Reader:
    """Reads files and collects what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: list[Diagnostic] = []

    def everything(
        self,
        source: Source,
        tree: Tree | None,
        *,
        measuring: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> DocumentSet:
        """The topology in a text, with everything it names; raises with all that is wrong in any of the files."""
        topology = self.fitting(source, tree, Topology)
        machine = self.named(tree, "machine", Machine)
        policy = self.named(tree, "policy", Policy)
        reference = self.named(tree, "reference-values", ReferenceValuesDocument, optional=measuring)
        known = catalog.appliances(self.folder, environment)
        manifests = self.manifests(topology, known) if topology else {}
        if self.found or topology is None or machine is None or policy is None:
            raise self.refusal()
        return DocumentSet(topology, machine, policy, reference, manifests, known, self.folder)

    def file(self, path: Path, model: type[Model]) -> Document[Model] | None:
        """The document in the file that a person named; None where something is wrong."""
        source = self.source(path)
        return self.document(source, model) if source else None

    def document(self, source: Source, model: type[Model], named: Span | None = None) -> Document[Model] | None:
        """The document in a text; None where something is wrong."""
        return self.fitting(source, self.tree(source), model, named)

    def named(
        self, topology: Tree | None, key: str, model: type[Model], *, optional: bool = False
    ) -> Document[Model] | None:
        """The document in the file that the topology names under `key`, whatever else is wrong with the topology."""
        name = _word(topology, key)
        if topology is None or not name:
            return None
        span = list(descend(topology, (key,)))[-1].span
        source = _read_listed(self.folder, span, name)
        if isinstance(source, Source):
            return self.document(source, model, span)
        if source.code != "VAFW-F001":
            self.found.append(source)
        elif not optional:
            self.found.append(replace(source, hint=_MISSING_HINTS[key]))
        return None

    def manifests(self, topology: Document[Topology], known: Mapping[str, Path]) -> dict[str, Document[Appliance]]:
        """The manifests of what the topology uses; a name that nothing carries is left to the plan's checks."""
        used = [topology.model.user_os.image, *(each.use for each in topology.model.appliances.values())]
        read = {name: self._manifest(known[name]) for name in dict.fromkeys(used) if name in known}
        return {name: manifest for name, manifest in read.items() if manifest}

    def _manifest(self, folder: Path) -> Document[Appliance] | None:
        document = self.file(folder / catalog.MANIFEST, Appliance)
        if document is not None and document.model.name != catalog.name_of(folder):
            message = f"name must be {catalog.name_of(folder)}, as the folder, not {document.model.name}"
            self.found.append(Diagnostic("VAFW-D022", message, document.at("name")))
        return document

    def refusal(self) -> DocumentInvalid:
        """All that was found wrong; what has no hint of its own gets its code's."""
        return DocumentInvalid(each if each.hint else replace(each, hint=advice(each.code)) for each in self.found)

    def source(self, path: Path) -> Source | None:
        """The text of the file that a person named."""
        try:
            return read_source(path)
        except Unreadable as problem:
            self.found.append(_unreadable(problem, str(path), Source.of_text("", path).start))
        return None

    def tree(self, source: Source) -> Tree | None:
        """The tree of a text; None where it is no document."""
        problems = [each for each in (refused_characters(source), refused_indentation(source)) if each]
        tree = None
        if not problems:
            tree, problems = parse(source)
        if not problems and not isinstance(tree, MappingNode):
            found = described(tree) if tree else "nothing"
            message = f"a document must be a mapping with the keys vafw, kind and name, not {found}"
            hint = "begin it with `vafw: 1` and `kind: ...`"
            problems = [Diagnostic("VAFW-D019", message, source.start, hint=hint)]
        self.found += problems
        return tree if isinstance(tree, MappingNode) else None

    def fitting(
        self, source: Source, tree: Tree | None, wanted: type[Model], named: Span | None = None
    ) -> Document[Model] | None:
        """The document that a tree describes; None where something is wrong."""
        if not isinstance(tree, MappingNode):
            return None
        kinds = [kind for kind, model in KINDS.items() if issubclass(model, wanted)]
        if (problem := _head_problem(tree, kinds)) is not None:
            self.found.append(replace(problem, related=(Label(named, "named here"),)) if named else problem)
            return None
        said = {each.span for each in self.found}
        model, differences = fit(tree, cast("type[Model]", KINDS[_word(tree, "kind")]))
        self.found += (each for each in differences if each.span not in said)
        if model is None:
            return None
        document = Document(source, tree, model)
        self.found += contradictions(document)
        return document


def _head_problem(tree: MappingNode, kinds: Collection[str]) -> Diagnostic | None:
    """What keeps the beginning of a document from saying that it is one of `kinds`, in a format that is known."""
    wanted = " or ".join(kinds)
    if "kind" not in tree.values:
        return Diagnostic(
            "VAFW-D002", "the document must have the key kind", tree.span.source.start, hint=f"add `kind: {wanted}`"
        )
    kind, word = tree.values["kind"], _word(tree, "kind")
    if word not in kinds:
        near = nearest(word, kinds)
        hint = f"did you mean {near}?" if near else f"write `kind: {wanted}`, or name a file of that kind"
        return Diagnostic("VAFW-D003", f"kind must be {wanted} here, not {described(kind)}", kind.span, hint=hint)
    version = tree.values.get("vafw")
    if version is None or (
        isinstance(version, ScalarNode) and type(version.value) is int and version.value == FORMAT_VERSION
    ):
        return None
    message = f"vafw must be {FORMAT_VERSION}, the version of the document format, not {described(version)}"
    return Diagnostic("VAFW-D004", message, version.span, hint="a later vafw may know that format")


def _word(tree: Tree | None, key: str) -> str:
    """The text under a key of a mapping; empty where there is none."""
    node = tree.values.get(key) if isinstance(tree, MappingNode) else None
    return node.value if isinstance(node, ScalarNode) and isinstance(node.value, str) else ""
