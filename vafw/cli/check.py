"""`vafw check`: every error of every file of a topology, or of one document of another kind."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.document.diagnostic import Diagnostic, DocumentInvalid, Severity
from vafw.document.load import Document, load_document, load_topology
from vafw.document.model import Head
from vafw.document.topology import Topology
from vafw.errors import ExitCode


@click.command(epilog="Example: vafw check policies/office-laptop/topology.yaml")
@topology_argument
@json_option
def command(topology: Path, as_json: bool) -> int:
    """Check TOPOLOGY and everything it names: all errors of all files, each with its place and a remedy."""
    found, summary = _check(topology)
    errors = [each for each in found if each.severity is Severity.ERROR]
    code = ExitCode.INVALID_DOCUMENT if errors else ExitCode.DONE
    if found and not as_json:
        from vafw.cli.diagnostics import print_diagnostics  # deferred: a good document needs none

        print_diagnostics(found)
    if not errors and not as_json:
        print(summary, file=sys.stderr)
    return Output(as_json, "Check").result({"summary": summary}, code, [each.to_json() for each in found])


def _check(path: Path) -> tuple[Sequence[Diagnostic], str]:
    try:
        document: Document[Head] = load_document(path)
        if not isinstance(document.model, Topology):
            return (), f"{path}: a correct {getattr(document.model, 'kind', 'document')}"
        documents = load_topology(path)
    except DocumentInvalid as invalid:
        return invalid.diagnostics, ""
    from vafw.plan.compile import check  # deferred: a document that cannot be read needs no checks across documents

    topology = documents.topology.model
    proofs = len(documents.policy.model.traffic.prove)
    return check(documents), (
        f"{path}: correct; {len(topology.appliances)} appliances, {len(documents.policy.model.traffic.rules)} rules, "
        f"{proofs} proofs hold"
    )
