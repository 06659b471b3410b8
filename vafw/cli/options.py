"""Options and arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from vafw.supervisor.run_directory import RunDirectory

Function = TypeVar("Function", bound=Callable[..., Any])

TOPOLOGY_FILE: Final = "topology.yaml"
"""What stands for a folder that holds it."""


def json_option(function: Function) -> Function:
    """`--json`: one JSON document on standard output instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


def topology_argument(function: Function) -> Function:
    """TOPOLOGY: the file to read, or the folder that holds a topology.yaml."""
    return click.argument("topology", type=click.Path(path_type=Path), callback=_topology_file)(function)


def run_argument(function: Function) -> Function:
    """NAME of a run: the topology's name, its file or its folder."""
    return click.argument("run", metavar="NAME", callback=_run)(function)


def topology_file(path: Path) -> Path:
    """The file itself, or the topology.yaml of a folder."""
    return path / TOPOLOGY_FILE if (path / TOPOLOGY_FILE).is_file() else path


def run_of(given: str) -> RunDirectory:
    """The run directory of a name, or of the topology in a file; a folder beside us does not hide a name."""
    path = Path(given)
    if "/" not in given and not path.suffix and not path.is_file():
        return RunDirectory(given)
    from vafw.document.load import load_document  # deferred: a plain name needs no document
    from vafw.document.topology import Topology

    return RunDirectory(load_document(topology_file(path), Topology).model.name)


def _topology_file(_context: click.Context, _parameter: click.Parameter, path: Path) -> Path:
    return topology_file(path)


def _run(_context: click.Context, _parameter: click.Parameter, given: str) -> RunDirectory:
    return run_of(given)
