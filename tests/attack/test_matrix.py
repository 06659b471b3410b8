"""The range: with everything on all attacks are stopped; with mechanisms off exactly those that they stop succeed."""

from __future__ import annotations

import os
import random

import pytest

from vafw.attack import SCENARIOS, Mechanism, Outcome, Scenario, Supplies, Target, as_declared, run, run_all


def succeeded(outcomes: tuple[Outcome, ...]) -> set[str]:
    return {each.scenario.name for each in outcomes if each.verdict is not None and each.verdict.succeeded}


def declared(without: set[Mechanism]) -> set[str]:
    return {each.name for each in SCENARIOS if each.succeeds_without(without)}


def surprises(outcomes: tuple[Outcome, ...], without: set[Mechanism]) -> list[tuple[str, object]]:
    return [(each.scenario.name, each.verdict) for each in outcomes if not as_declared(each, without)]


def test_with_everything_on_every_attack_is_stopped_by_its_first_layer(supplies: Supplies) -> None:
    outcomes = run_all(supplies, SCENARIOS)
    assert [each.scenario.name for each in outcomes if each.verdict is None] == []
    assert succeeded(outcomes) == set()
    assert surprises(outcomes, set()) == []


@pytest.mark.parametrize("mechanism", Mechanism)
def test_without_a_mechanism_exactly_the_attacks_that_it_alone_stops_succeed(
    supplies: Supplies, mechanism: Mechanism
) -> None:
    outcomes = run_all(supplies, SCENARIOS, (mechanism,))
    assert succeeded(outcomes) == declared({mechanism})
    assert surprises(outcomes, {mechanism}) == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_without_all_that_stands_in_its_way_an_attack_succeeds(supplies: Supplies, scenario: Scenario) -> None:
    outcome = run(scenario, Target(supplies, scenario.mechanisms))
    assert outcome.verdict is not None
    assert (outcome.verdict.succeeded, outcome.verdict.record != "") == (True, True)


@pytest.mark.parametrize("seed", range(int(os.environ.get("VAFW_ATTACK_SETS", "6"))))
def test_without_any_set_of_mechanisms_the_layers_that_are_left_decide(supplies: Supplies, seed: int) -> None:
    chosen = random.Random(seed)
    without = set(chosen.sample(list(Mechanism), chosen.randint(2, len(Mechanism))))
    assert surprises(run_all(supplies, SCENARIOS, without), without) == []


def test_a_topology_of_one_appliance_and_no_screen_is_attacked_as_far_as_it_goes(supplies_of_one: Supplies) -> None:
    outcomes = run_all(supplies_of_one, SCENARIOS)
    missing = {each.scenario.name for each in outcomes if each.verdict is None}
    assert missing == {"nic-writes-appliance", "msi-of-another-function", "driver-gone-bad"}
    assert succeeded(outcomes) == set()
    assert surprises(outcomes, set()) == []


def test_attacks_on_a_running_machine_leave_it_as_they_found_it(supplies: Supplies) -> None:
    target = Target(supplies)
    first = [run(each, target).verdict for each in SCENARIOS]
    second = [run(each, target).verdict for each in SCENARIOS]
    stopped_by = [verdict.stopped_by for verdict in first if verdict]
    assert stopped_by == [verdict.stopped_by for verdict in second if verdict]
