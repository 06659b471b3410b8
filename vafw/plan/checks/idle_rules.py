"""Rules that do no work: never reached, contradicted, redundant, never matching; exact, as `traffic.space` finds them.

All are warnings: such a policy means what it means, though hardly what its author thinks. Where a name is unknown
nothing is said, as the rule would be another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vafw.document.diagnostic import Diagnostic, Label, Severity
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.checks.proofs import names_are_known
from vafw.plan.rules import compile_rules
from vafw.traffic.rule import Ruleset
from vafw.traffic.space.scrutiny import Fault, Finding, scrutinise

MOST_SHOWN: Final = 4
"""Other rules at most that one diagnostic points to."""

_CODES: Final = {
    Fault.UNREACHABLE: "VAFW-P022",
    Fault.SHADOWED: "VAFW-P023",
    Fault.CONTRADICTED: "VAFW-P024",
    Fault.REDUNDANT: "VAFW-P025",
    Fault.MATCHES_NOTHING: "VAFW-P026",
}
_LABELS: Final = {
    Fault.UNREACHABLE: "the rules before it leave nothing to it",
    Fault.SHADOWED: "one rule before it leaves nothing to it",
    Fault.CONTRADICTED: "the opposite stands before it",
    Fault.REDUNDANT: "without it the same would happen to every packet",
    Fault.MATCHES_NOTHING: "no packet is like this",
}
_HINTS: Final = {
    Fault.UNREACHABLE: "move it up, or take it out",
    Fault.SHADOWED: "move it up, or take it out",
    Fault.CONTRADICTED: "take one of the two out",
    Fault.REDUNDANT: "take it out",
    Fault.MATCHES_NOTHING: "correct what it asks for, or take it out",
}


def rules_do_work(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Each rule decides on some packet, and otherwise than those after it would."""
    if not documents.policy.model.traffic.rules or not names_are_known(documents):
        return
    ruleset = compile_rules(documents)
    for finding in scrutinise(ruleset):
        yield _diagnostic(documents, ruleset, finding)


def _diagnostic(documents: DocumentSet, ruleset: Ruleset, finding: Finding) -> Diagnostic:
    more = len(finding.by) - MOST_SHOWN
    return Diagnostic(
        _CODES[finding.fault],
        _message(ruleset, finding),
        span_at(documents.policy, "traffic", "rules", finding.at, "name"),
        _LABELS[finding.fault],
        related=tuple(_others(documents, ruleset, finding)),
        notes=(f"and {more} more",) if more > 0 else (),
        hint=_HINTS[finding.fault],
        severity=Severity.WARNING,
    )


def _message(ruleset: Ruleset, finding: Finding) -> str:
    name = ruleset.rules[finding.at].name
    if finding.fault is Fault.REDUNDANT:
        return f"a rule must make a difference, and '{name}' makes none"
    if finding.fault is Fault.CONTRADICTED:
        other = ruleset.rules[finding.by[0]].name
        return f"two rules must not say the opposite of the same packets, as '{other}' and '{name}' do"
    return f"a rule must decide on some packet, and '{name}' decides on none"


def _others(documents: DocumentSet, ruleset: Ruleset, finding: Finding) -> Iterator[Label]:
    """The rules that leave it nothing or do its work; the default where none does."""
    redundant = finding.fault is Fault.REDUNDANT
    if redundant and not finding.by:
        yield Label(span_at(documents.policy, "traffic", "default"), f"the default does it: {ruleset.default}")
    whole = {Fault.SHADOWED: "all of them", Fault.CONTRADICTED: "exactly these"}.get(finding.fault, "some of them")
    for other in finding.by[:MOST_SHOWN]:
        action = ruleset.rules[other].action
        text = f"this rule does it: {action}" if redundant else f"this rule decides on {whole} first: {action}"
        yield Label(span_at(documents.policy, "traffic", "rules", other, "name"), text)
