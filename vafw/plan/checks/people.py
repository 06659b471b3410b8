"""The people of a policy's management: whether those who must sign exist, are enough, and are different people."""

from __future__ import annotations

from collections.abc import Iterator

from vafw.document.diagnostic import Diagnostic, Label, Severity, did_you_mean
from vafw.document.load import DocumentSet
from vafw.plan.checks.place import span_at
from vafw.plan.management import key_of, people_who_may


def groups_have_people(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Where people are declared, somebody is in every group that may configure something."""
    management = documents.policy.model.management
    known = {group for person in management.people.values() for group in person.groups}
    if not management.people:
        return
    for appliance, groups in management.may_configure.items():
        for index, group in enumerate(groups):
            if group not in known:
                yield Diagnostic(
                    "VAFW-P014",
                    f"a group that may configure must have people in it, and nobody is in '{group}'",
                    span_at(documents.policy, "management", "may-configure", appliance, index),
                    hint=did_you_mean(
                        group, sorted(known), otherwise="name it in the groups of a person, or take it out"
                    ),
                )


def signatures_can_be_had(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Enough different people may sign for every appliance that may be configured."""
    management, policy = documents.policy.model.management, documents.policy
    if not management.people and management.signatures > 1:
        yield Diagnostic(
            "VAFW-P015",
            f"{management.signatures} signatures must be people's, and the policy declares nobody",
            span_at(policy, "management", "signatures"),
            "no change could ever be signed",
            hint="declare people with their keys, or set signatures to 1",
        )
    for appliance, groups in management.may_configure.items() if management.people else ():
        who = people_who_may(management, appliance)
        known = {group for person in management.people.values() for group in person.groups}
        if len(who) < management.signatures and set(groups) <= known:
            there = ", ".join(sorted(who)) or "nobody"
            yield Diagnostic(
                "VAFW-P015",
                f"{management.signatures} people must be able to sign for {appliance}, and these are all: {there}",
                policy.key_at("management", "may-configure", appliance),
                "no change could ever be signed",
                related=(Label(policy.key_at("management", "signatures"), "so many are needed"),)
                if management.signatures > 1
                else (),
                hint="name another group, put more people into these, or ask for fewer signatures",
            )


def keys_are_of_one_person(documents: DocumentSet) -> Iterator[Diagnostic]:
    """No two people have one key: one person would count twice."""
    first: dict[str, str] = {}
    for name, person in documents.policy.model.management.people.items():
        other = first.setdefault(key_of(person), name)
        if other != name:
            yield Diagnostic(
                "VAFW-P016",
                f"each person must have a key of their own, and {name} has that of {other}",
                span_at(documents.policy, "management", "people", name, "key"),
                "whoever holds it would count twice",
                related=(Label(span_at(documents.policy, "management", "people", other, "key"), "the same key"),),
                hint=f"give {name} another key, or take one of the two out",
            )


def people_may_do_something(documents: DocumentSet) -> Iterator[Diagnostic]:
    """Whoever is declared is in a group that may configure something; else a name is misspelt, or left over."""
    management = documents.policy.model.management
    known = {group for groups in management.may_configure.values() for group in groups}
    for name, person in management.people.items():
        if not set(person.groups) & known:
            yield Diagnostic(
                "VAFW-P017",
                f"a person must be in a group that may configure something, and {name} is in none",
                span_at(documents.policy, "management", "people", name, "groups"),
                severity=Severity.WARNING,
                hint=did_you_mean(person.groups[0], sorted(known), otherwise="name the group in may-configure"),
            )
