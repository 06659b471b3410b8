"""The matrix: every attack against every mechanism switched off, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from vafw.attack.computer import Supplies
from vafw.attack.mechanism import Mechanism
from vafw.attack.roster import SCENARIOS
from vafw.attack.scenario import Outcome, Scenario, run
from vafw.attack.target import Target
from vafw.trace import Value


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One attack: what stops it, and what comes of it without each mechanism."""

    scenario: Scenario
    whole: Outcome
    """With everything on."""
    without: dict[Mechanism, Outcome]
    """With one mechanism off."""
    bare: Outcome
    """With everything off that stands in its way."""

    def to_json(self) -> dict[str, Value]:
        """One JSON object."""
        return {
            **describe(self.scenario),
            "all-on": report(self.whole),
            "without": {each.value: report(outcome) for each, outcome in self.without.items()},
            "all-of-its-own-off": report(self.bare),
        }


def run_all(
    supplies: Supplies, scenarios: Iterable[Scenario], without: Iterable[Mechanism] = ()
) -> tuple[Outcome, ...]:
    """Run attacks with the same mechanisms off; those on a running machine share one."""
    target = Target(supplies, without)
    return tuple(run(each, target) for each in scenarios)


def matrix(supplies: Supplies, scenarios: Sequence[Scenario] = SCENARIOS) -> tuple[Row, ...]:
    """Every attack with everything on, with each mechanism off, and with all that stand in its way off."""
    whole = run_all(supplies, scenarios)
    columns = {each: run_all(supplies, scenarios, (each,)) for each in Mechanism}
    return tuple(
        Row(
            scenario,
            whole[number],
            {mechanism: column[number] for mechanism, column in columns.items()},
            run(scenario, Target(supplies, scenario.mechanisms)),
        )
        for number, scenario in enumerate(scenarios)
    )


def as_declared(outcome: Outcome, without: Iterable[Mechanism]) -> bool:
    """Whether an attack ended the way its scenario declares, stopped by a mechanism of the layer that it names."""
    if outcome.verdict is None:
        return True
    off = frozenset(without)
    if outcome.verdict.stopped_by is None:
        return outcome.scenario.succeeds_without(off)
    return outcome.verdict.stopped_by in outcome.scenario.stopped_by(off)


def describe(scenario: Scenario) -> dict[str, Value]:
    """A scenario as JSON."""
    layers: list[Value] = [[each.value for each in sorted(one)] for one in scenario.layers]
    return {"name": scenario.name, "threat": scenario.threat, "source": scenario.source, "layers": layers}


def report(outcome: Outcome) -> dict[str, Value]:
    """An outcome as JSON."""
    if outcome.verdict is None:
        return {"outcome": "not applicable", "reason": outcome.why_not}
    stopped_by = outcome.verdict.stopped_by
    members: dict[str, Value] = {"outcome": "stopped" if stopped_by else "succeeded", "record": outcome.verdict.record}
    if stopped_by is not None:
        members["stopped-by"] = stopped_by.value
    return members
