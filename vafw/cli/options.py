"""Options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def json_option(function: Function) -> Function:
    """`--json`: one JSON document on standard output instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


def topology_argument(function: Function) -> Function:
    """TOPOLOGY: the file to read."""
    return click.argument("topology", type=click.Path(path_type=Path))(function)


def run_name(name_or_topology: str) -> str:
    """The name of a run: what was given, or the name of the topology in the file that was given."""
    path = Path(name_or_topology)
    if not path.suffix and not path.exists():
        return name_or_topology
    from vafw.document.load import load_topology  # deferred: a plain name needs no document

    return load_topology(path).topology.model.name
