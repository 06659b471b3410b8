"""What the policy says must hold for every packet, proven or refuted with one packet.

The proving itself is `traffic.proof`; here its answer is put beside the clause and the rule that decided. Where a name
is unknown nothing is proven: `rules` has complained of the name, and a proof about other rules would mislead.
"""

from __future__ import annotations

from collections.abc import Iterator

from vafw.document.diagnostic import Diagnostic, Label
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.checks.rules import kind_of, pattern_of, services_are_known, zones_are_known
from vafw.plan.roster import USER_OS
from vafw.plan.rules import compile_pattern, compile_rules
from vafw.traffic.proof import Counterexample, Proof
from vafw.traffic.reason import DEFAULT, SPOOFED


def proofs_hold(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every clause under ``prove`` holds for every packet."""
    clauses = documents.policy.model.traffic.prove
    if not clauses or not names_are_known(documents):
        return
    proof = Proof(compile_rules(documents))
    for index, clause in enumerate(clauses):
        pattern = compile_pattern(documents, pattern_of(clause))
        found = proof.counterexample(pattern, passes=clause.never is not None)
        if found is not None:
            yield _refuted(documents, index, kind_of(clause), found)


def names_are_known(documents: DocumentSet) -> bool:
    """Whether every name in a rule or a proof stands for something."""
    return not any(True for check in (zones_are_known, services_are_known) for _ in check(documents))


def _refuted(documents: DocumentSet, index: int, kind: str, found: Counterexample) -> Diagnostic:
    never = kind == "never"
    return Diagnostic(
        "VAFW-P020" if never else "VAFW-P021",
        f"no packet of this clause must pass, and '{found.rule}' lets one through"
        if never
        else f"every packet of this clause must pass, and '{found.rule}' stops one",
        documents.policy.key_at("traffic", "prove", index, kind),
        "does not hold",
        related=_deciding(documents, found),
        notes=(f"counter-example: {found.packet}",),
        hint="put a rule before it that drops such packets, or narrow the rule"
        if never
        else "put a rule before it that accepts such packets, or narrow the clause",
    )


def _deciding(documents: DocumentSet, found: Counterexample) -> tuple[Label, ...]:
    """The place that made the decision; none for what the firewall does by itself."""
    policy = documents.policy
    for index, rule in enumerate(policy.model.traffic.rules):
        if rule.name == found.rule:
            return (Label(span_at(policy, "traffic", "rules", index, "name"), f"this rule decides: {found.action}"),)
    if found.rule == DEFAULT:
        return (Label(span_at(policy, "traffic", "default"), "no rule matches: the default decides"),)
    if found.rule == SPOOFED:
        return (Label(span_at(documents.topology, USER_OS, "addresses"), "the source is none of these"),)
    return ()
