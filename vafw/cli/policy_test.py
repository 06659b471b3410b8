"""`vafw policy test`: the `prove:` clauses, each proven for every packet or refuted with one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output, paint
from vafw.cli.policy_documents import documents_at, topology_or_here
from vafw.errors import ExitCode
from vafw.plan.checks.proofs import Answer, answers
from vafw.plan.words import clause_words
from vafw.trace import Value


@click.command(epilog="Example: vafw policy test policies/office-laptop")
@topology_or_here
@json_option
def command(topology: Path, as_json: bool) -> int:
    """Prove every clause under `prove` of TOPOLOGY's policy; exit 22 where one does not hold."""
    documents = documents_at(topology)
    clauses = documents.policy.model.traffic.prove
    said = [(answer, clause_words(clauses[answer.index])) for answer in answers(documents)]
    refuted = [each for answer, _ in said for each in answer.refuted]
    if not as_json:
        for answer, words in said:
            print(_line(answer, words))
        if refuted:
            from vafw.cli.diagnostics import print_diagnostics  # deferred: proofs that hold need none

            sys.stdout.flush()
            print_diagnostics(refuted)
        print(_summary(said), file=sys.stderr)
    code = ExitCode.REFUSED if refuted else ExitCode.DONE
    return Output(as_json, "PolicyTest").result(
        {
            "clauses": [
                {"kind": a.kind, "words": words, "place": str(a.place), "holds": not a.refuted} for a, words in said
            ]
        },
        code,
        [each.to_json() for each in refuted],
    )


def _line(answer: Answer, words: str) -> str:
    holds = paint("holds ", "green", sys.stdout) if not answer.refuted else paint("BROKEN", "bold red", sys.stdout)
    return f"{holds}  {words}  ({answer.place})"


def _summary(said: list[tuple[Answer, str]]) -> str:
    broken = sum(bool(answer.refuted) for answer, _ in said)
    if not said:
        return "the policy has no prove clauses"
    return f"{len(said) - broken} of {len(said)} clauses hold for every packet"


def _json(answer: Answer, words: str) -> Value:
    return {"kind": answer.kind, "words": words, "place": str(answer.place), "holds": not answer.refuted}
