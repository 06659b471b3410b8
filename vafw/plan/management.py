"""Who may configure what, as agents and controllers use it: the people of the groups that are named for an appliance.

Not the question whether what the policy says makes sense (`vafw.plan.checks.people`).
"""

from __future__ import annotations

from collections.abc import Mapping

from vafw.document.policy import ManagementPolicy, Person
from vafw.machine.authority import Authority
from vafw.openssh.public_key import PublicKey


def authority_of(management: ManagementPolicy, appliance: str) -> Authority | None:
    """Who may configure an appliance; None where the policy declares nobody at all, and nothing is signed."""
    if not management.people:
        return None
    who = people_who_may(management, appliance)
    return Authority(management.signatures, {name: key_of(who[name]) for name in sorted(who)})


def people_who_may(management: ManagementPolicy, appliance: str) -> Mapping[str, Person]:
    """Everybody who is in a group that may configure the appliance; nobody where no group is named for it."""
    groups = management.may_configure.get(appliance, ())
    return {name: person for name, person in management.people.items() if set(groups) & set(person.groups)}


def key_of(person: Person) -> str:
    """A person's key without its comment."""
    return str(PublicKey.parse(person.key))
