"""The documents that `vafw policy` asks about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from vafw.cli.options import TOPOLOGY_FILE, topology_file
from vafw.document.load import Document, DocumentSet, load_any, load_topology
from vafw.document.policy import Policy
from vafw.errors import UsageError
from vafw.plan.compile import refuse_but_for_proofs

Function = TypeVar("Function", bound=Callable[..., Any])


def topology_or_here(function: Function) -> Function:
    """TOPOLOGY: the file or its folder; this folder where none is given."""
    return click.argument("topology", type=click.Path(path_type=Path), default=".", required=False)(function)


def documents_at(path: Path) -> DocumentSet:
    """A topology with all it names, refused where it is wrong apart from its proofs.

    A policy's own file stands for the topology beside it with that policy in place of its own.
    """
    documents = _read(path)
    refuse_but_for_proofs(documents)
    return documents


def _read(path: Path) -> DocumentSet:
    file = topology_file(path)
    found = load_any(file)
    if isinstance(found, DocumentSet):
        return found
    beside = file.parent / TOPOLOGY_FILE
    if not isinstance(found.model, Policy) or not beside.is_file():
        raise UsageError(
            f"{path} must be a topology, or a policy with a {TOPOLOGY_FILE} beside it",
            hint="name the folder of a topology, such as policies/office-laptop",
        )
    return replace(load_topology(beside), policy=Document(found.source, found.tree, found.model))
