"""`vafw check`: every error of every file of a topology, or of one document of another kind."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.document.diagnostic import Diagnostic, DocumentInvalid, Severity
from vafw.document.load import DocumentSet, load_any
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
        documents = load_any(path)
    except DocumentInvalid as invalid:
        return invalid.diagnostics, ""
    if not isinstance(documents, DocumentSet):
        return (), f"{path}: a correct {getattr(documents.model, 'kind', 'document')}"
    from vafw.plan.compile import check  # deferred: a single document needs no checks across documents

    topology, traffic = documents.topology.model, documents.policy.model.traffic
    return check(documents), (
        f"{path}: correct; {len(topology.appliances)} appliances, {len(traffic.rules)} rules, "
        f"{len(traffic.prove)} proofs hold"
    )
