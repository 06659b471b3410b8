"""A correct set of documents that tests alter by exchanging pieces of their text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pytest

from vafw.document import catalog
from vafw.document.appliance import Appliance
from vafw.document.load import DocumentSet, read_document
from vafw.document.machine import Machine
from vafw.document.policy import Policy
from vafw.document.reference_values import ReferenceValuesDocument
from vafw.document.source import Source
from vafw.document.topology import Topology

FOLDER = Path(__file__).parent / "desk"
Edits = Iterable[tuple[str, str]]


class Desk(Protocol):
    """Makes the documents of `desk/`, each with some of its text exchanged."""

    def __call__(self, *, topology: Edits = (), policy: Edits = (), machine: Edits = ()) -> DocumentSet: ...


def source(name: str, edits: Edits = ()) -> Source:
    text = (FOLDER / name).read_text()
    for old, new in edits:
        assert old in text, f"{old!r} stands in {name}"
        text = text.replace(old, new)
    return Source.of_text(text, FOLDER / name)


@pytest.fixture(scope="session")
def desk() -> Desk:
    """Documents that agree with each other, but for the exchanges asked for."""
    folders = catalog.appliances(FOLDER, {})
    manifests = {
        name: read_document(Source.of_text((folder / catalog.MANIFEST).read_text(), folder), Appliance)
        for name, folder in folders.items()
    }

    def make(*, topology: Edits = (), policy: Edits = (), machine: Edits = ()) -> DocumentSet:
        return DocumentSet(
            topology=read_document(source("topology.yaml", topology), Topology),
            machine=read_document(source("machine.yaml", machine), Machine),
            policy=read_document(source("policy.yaml", policy), Policy),
            reference_values=read_document(source("reference-values.yaml"), ReferenceValuesDocument),
            appliances=manifests,
            catalog=folders,
            folder=FOLDER,
        )

    return make
