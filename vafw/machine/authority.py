"""Who may configure one appliance, and how many of them together: the part of the policy that an agent is started with.

Pure: keys in, names out, or the reason why they are not enough. What was signed, and whether the signatures are right,
is `vafw.control.approval`'s. Where there is no authority nobody's signature is asked for: whoever reaches the run may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from vafw.errors import Refused
from vafw.trace import Value

MOST_SIGNATURES: Final = 16


class NotAuthorised(Refused):
    """Signatures of the wrong people, of one person twice, or of too few."""


@final
@dataclass(frozen=True, slots=True)
class Authority:
    """Of one appliance."""

    required: int
    """How many different people must sign one change."""
    people: Mapping[str, str]
    """By name, the public key of everyone who may, as ``ssh-ed25519 AAAA…`` without a comment; nobody where empty."""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Authority:
        """The inverse of `to_json`; KeyError, TypeError or ValueError for anything else."""
        required = fields["required"]
        if type(required) is not int or not 1 <= required <= MOST_SIGNATURES:
            raise ValueError(f"required must be an integer from 1 to {MOST_SIGNATURES}, not {required!r}")
        return cls(required, {str(name): str(key) for name, key in fields["people"].items()})

    def to_json(self) -> dict[str, Value]:
        """Its fields."""
        return {"required": self.required, "people": dict(self.people)}

    def signers(self, keys: Iterable[str], what: str, known: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """The names of those whose keys signed `what`, sorted; NotAuthorised where they must not, or are too few.

        `known` names people who may not sign this, so that a refusal can say who it was.
        """
        if not self.people:
            raise NotAuthorised(f"{what} must be somebody's to make, and the policy names nobody who may")
        names: list[str] = []
        for key in keys:
            name = _owner(key, self.people)
            if name is None:
                stranger = _owner(key, known or {}) or "another key"
                raise NotAuthorised(f"{what} must be signed by {self.wanted}, not by {stranger}")
            if name in names:
                raise NotAuthorised(f"{what} must be signed by each person once, and {name} signed twice")
            names.append(name)
        if len(names) < self.required:
            raise NotAuthorised(
                f"{what} must be signed by {self.wanted}, and is signed by {' and '.join(sorted(names)) or 'nobody'}"
            )
        return tuple(sorted(names))

    @property
    def wanted(self) -> str:
        """Whose signatures are asked for, such as ``2 of anna, ben, carla``."""
        return f"{self.required} of {', '.join(sorted(self.people))}"


def _owner(key: str, people: Mapping[str, str]) -> str | None:
    return next((name for name, own in people.items() if own == key), None)
