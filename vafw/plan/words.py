"""Clauses of a policy in words: one line for a person, and for the head of a finding."""

from __future__ import annotations

from vafw.document.traffic import ProveClause
from vafw.plan.checks.rules import kind_of, pattern_of


def clause_words(clause: ProveClause) -> str:
    """A `prove` clause, such as ``never: from any to user-os, new``."""
    pattern = pattern_of(clause)
    words = f"{kind_of(clause)}: from {_names(pattern.from_)} to {_names(pattern.to)}"
    if pattern.service:
        words += f", {_names(pattern.service)}"
    words += f", {_names(pattern.state)}"
    if clause.only_via is not None:
        words += f", via {clause.only_via.via}"
    if clause.same_as is not None:
        words += f", as under {clause.same_as.policy}"
    return words


def _names(names: tuple[str, ...]) -> str:
    return " or ".join(names)
