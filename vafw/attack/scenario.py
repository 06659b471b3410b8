"""An attack as a value: its threat, the layers of defence it must break, and the steps it takes.

Nothing here knows an attack by name. `layers` is what whoever wrote the scenario declares; the verdict comes from what
the hardware recorded. A test holds the one against the other for every attack and every mechanism.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, final

from vafw.attack.mechanism import Mechanism
from vafw.errors import VafwError

if TYPE_CHECKING:
    from vafw.attack.target import Target


class NotApplicable(VafwError):
    """The topology lacks what the attack needs; the message says what."""


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attack ended."""

    record: str
    """What the hardware says: a fault record, a VM exit, a digest, the gate's decision; or what was reached."""
    stopped_by: Mechanism | None = None
    """None where the attack reached its aim."""

    @property
    def succeeded(self) -> bool:
        """Whether the attack reached its aim."""
        return self.stopped_by is None


Attempt: TypeAlias = Generator[str, None, Verdict]
"""Says each step before it takes it, and returns how it ended."""
Layer: TypeAlias = frozenset[Mechanism]
"""Mechanisms that hold together: with one of them gone the layer is broken."""


def layer(*mechanisms: Mechanism) -> Layer:
    """Mechanisms that hold only together."""
    return frozenset(mechanisms)


@final
@dataclass(frozen=True, slots=True)
class Scenario:
    """One attack."""

    name: str
    threat: str
    """One sentence: who does what to whom."""
    source: str
    """The rows of the background (S…) and of the cases of reliability (E…) it comes from."""
    layers: tuple[Layer, ...]
    """Layers of defence, the first one it meets first; it succeeds where every one of them is broken."""
    attempt: Callable[[Target], Attempt]

    def succeeds_without(self, without: Collection[Mechanism]) -> bool:
        """Whether it is declared to succeed with these mechanisms off."""
        return all(each & frozenset(without) for each in self.layers)

    def stopped_by(self, without: Collection[Mechanism]) -> Layer:
        """The layer that is declared to stop it then; empty where none does."""
        return next((each for each in self.layers if not each & frozenset(without)), frozenset())

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Everything that stands in its way, in the mechanisms' own order."""
        return tuple(each for each in Mechanism if any(each in one for one in self.layers))


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """An attack that was run."""

    scenario: Scenario
    steps: tuple[str, ...]
    verdict: Verdict | None
    """None where the topology lacks what the attack needs."""
    why_not: str = ""


def run(scenario: Scenario, target: Target) -> Outcome:
    """Take every step of an attack against a target."""
    steps: list[str] = []
    attempt = scenario.attempt(target)
    try:
        while True:
            steps.append(next(attempt))
    except StopIteration as end:
        return Outcome(scenario, tuple(steps), end.value)
    except NotApplicable as error:
        return Outcome(scenario, tuple(steps), None, error.message)
