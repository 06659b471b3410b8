"""What the policy says must hold for every packet, proven or refuted with one packet; and rules that decide nothing.

The proving itself is `traffic.proof`; here its answer is put beside the clause and the rule that decided. Where a name
is unknown nothing is proven: `rules` has complained of the name, and a proof about other rules would mislead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vafw.document.diagnostic import Diagnostic, Label, Severity
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.checks.rules import kind_of, pattern_of, services_are_known, zones_are_known
from vafw.plan.roster import USER_OS
from vafw.plan.rules import compile_pattern, compile_rules
from vafw.traffic.proof import Counterexample, Pattern, counterexample
from vafw.traffic.reason import DEFAULT, SPOOFED
from vafw.traffic.rule import Action, Rule, Ruleset


def proofs_hold(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Every clause under ``prove`` holds for every packet."""
    clauses = documents.policy.model.traffic.prove
    if not clauses or not _names_are_known(documents):
        return
    ruleset = compile_rules(documents)
    for index, clause in enumerate(clauses):
        pattern = compile_pattern(documents, pattern_of(clause))
        found = counterexample(ruleset, pattern, passes=clause.never is not None)
        if found is not None:
            yield _refuted(documents, index, kind_of(clause), found)


def _names_are_known(documents: DocumentSet) -> bool:
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


def rules_decide_something(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Each rule decides on some packet that no rule before it has decided on."""
    if not _names_are_known(documents):
        return
    ruleset = compile_rules(documents)
    for index, rule in enumerate(ruleset.rules):
        if not _decides(ruleset, ruleset.rules[:index], rule):
            yield _shadowed(documents, ruleset, index)


def _decides(ruleset: Ruleset, before: tuple[Rule, ...], rule: Rule) -> bool:
    """Whether some packet reaches `rule` past the rules `before` it."""
    dropping = tuple(replace(each, action=Action.DROP) for each in before)
    rules = (*dropping, replace(rule, action=Action.ACCEPT))
    pattern = Pattern(rule.sources, rule.destinations, rule.services)
    return counterexample(Ruleset(rules, Action.DROP, ruleset.inside), pattern) is not None


def _shadowed(documents: DocumentSet, ruleset: Ruleset, index: int) -> Diagnostic:
    rule, before = ruleset.rules[index], ruleset.rules[:index]
    alone = next((at for at, each in enumerate(before) if not _decides(ruleset, (each,), rule)), None)
    related: tuple[Label, ...] = ()
    if alone is not None and _decides(ruleset, (), rule):
        here = span_at(documents.policy, "traffic", "rules", alone, "name")
        related = (Label(here, f"this rule decides on all of them first: {before[alone].action}"),)
    return Diagnostic(
        "VAFW-P022",
        f"a rule must decide on some packet, and '{rule.name}' decides on none",
        span_at(documents.policy, "traffic", "rules", index, "name"),
        "the rules before it leave nothing to it" if _decides(ruleset, (), rule) else "no packet is like this",
        related=related,
        hint="move it up, or take it out",
        severity=Severity.WARNING,
    )
