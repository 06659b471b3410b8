"""Layers of defence as values: what a scenario declares, before anything is run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vafw.attack import SCENARIOS, Mechanism, NotApplicable, Scenario, Supplies, Target, layer, named, run
from vafw.attack.scenario import Attempt

SETS = st.frozensets(st.sampled_from(Mechanism))
SOME_SCENARIO = st.sampled_from(SCENARIOS)


@given(SOME_SCENARIO, SETS)
def test_an_attack_succeeds_exactly_where_no_layer_stops_it(scenario: Scenario, without: frozenset[Mechanism]) -> None:
    assert scenario.succeeds_without(without) == (scenario.stopped_by(without) == frozenset())


@given(SOME_SCENARIO, SETS, SETS)
def test_switching_more_off_never_stops_an_attack(
    scenario: Scenario, some: frozenset[Mechanism], more: frozenset[Mechanism]
) -> None:
    assert scenario.succeeds_without(some) <= scenario.succeeds_without(some | more)


def test_every_attack_is_stopped_by_something_and_has_a_name_of_its_own() -> None:
    assert all(scenario.layers and all(scenario.layers) for scenario in SCENARIOS)
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS) >= 24
    assert [named(scenario.name) for scenario in SCENARIOS] == list(SCENARIOS)


def test_every_mechanism_stops_an_attack() -> None:
    assert {mechanism for scenario in SCENARIOS for mechanism in scenario.mechanisms} == set(Mechanism)


def test_the_first_layer_that_holds_is_the_one_that_stops() -> None:
    scenario = Scenario("x", "", "", (layer(Mechanism.TXT, Mechanism.LCP), layer(Mechanism.GATE)), _cannot)
    assert scenario.stopped_by(()) == {Mechanism.TXT, Mechanism.LCP}
    assert scenario.stopped_by((Mechanism.LCP,)) == {Mechanism.GATE}
    assert scenario.stopped_by((Mechanism.LCP, Mechanism.GATE)) == frozenset()


def test_what_a_topology_lacks_is_said_and_is_no_verdict(supplies: Supplies) -> None:
    scenario = Scenario("x", "", "", (layer(Mechanism.GATE),), _cannot)
    outcome = run(scenario, Target(supplies))
    assert (outcome.verdict, outcome.why_not, outcome.steps) == (None, "there must be a sixth sense", ("a step",))


def _cannot(_target: Target) -> Attempt:
    yield "a step"
    raise NotApplicable("there must be a sixth sense")
