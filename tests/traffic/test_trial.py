"""Rules on trial: confirmed in time they stay, else they go; in the engine, and in a kernel."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.traffic.kernel_router import in_router, kernel_router, missing
from tests.traffic.random_policy import policies
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE
from vafw.traffic.engine import Engine
from vafw.traffic.nftables.rendering import nftables_table
from vafw.traffic.rule import Action, Nat, Rule, Ruleset, Selector
from vafw.traffic.trial import TRANSITIONS, Change, Event, Phase, Trial

USER = (Selector(INSIDE, AddressSet.everything()),)
ANY = (Selector(None, AddressSet.everything()),)
OPEN = Ruleset((Rule("out", USER, ANY, (), Action.ACCEPT),), Action.DROP)
SHUT = Ruleset((), Action.DROP)


def trial() -> Trial[str]:
    return Trial("old", "new", now_s=100.0, patience_s=30.0)


def test_new_rules_are_in_force_at_once_and_stay_when_they_are_confirmed() -> None:
    begun = trial()
    assert begun.in_force == "new"
    assert begun.probed(healthy=True, finding="", now_s=110) is Phase.TRYING
    assert begun.confirm(120) is Phase.CONFIRMED
    assert begun.passed(1000) is Phase.CONFIRMED
    assert begun.in_force == "new"


def test_without_a_confirmation_the_old_rules_come_back() -> None:
    begun = trial()
    assert begun.passed(129.9) is Phase.TRYING
    assert begun.passed(130) is Phase.ROLLED_BACK
    assert (begun.in_force, begun.reason) == ("old", "no confirmation came within 30 s")


def test_a_confirmation_that_comes_too_late_is_none() -> None:
    begun = trial()
    assert begun.confirm(131) is Phase.ROLLED_BACK
    assert begun.in_force == "old"


def test_a_failed_probe_brings_the_old_rules_back_for_good() -> None:
    begun = trial()
    assert begun.probed(healthy=False, finding="the resolver is out of reach", now_s=101) is Phase.ROLLED_BACK
    assert begun.confirm(102) is Phase.ROLLED_BACK
    assert begun.reason == "the resolver is out of reach"


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, Event)))
def test_only_a_trial_that_runs_can_end(phase: Phase, event: Event) -> None:
    assert ((phase, event) in TRANSITIONS) == (phase is Phase.TRYING)


def test_a_trial_without_patience_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^patience must be more than nothing, not 0 s$"):
        Trial("old", "new", now_s=0.0, patience_s=0)


def test_an_engine_goes_back_to_its_rules_and_keeps_their_connections() -> None:
    sent = bytes(Ether() / IP(src="10.0.0.2", dst="1.1.1.1") / UDP(sport=5, dport=53))
    back = bytes(Ether() / IP(src="1.1.1.1", dst="10.0.0.2") / UDP(sport=53, dport=5))
    old = Engine(OPEN)
    assert old.decide(sent, INSIDE, 0.0).rule == "out"
    begun = Trial(old, old.succeeded_by(SHUT), now_s=0.0, patience_s=10.0)
    assert begun.in_force.decide(sent, INSIDE, 1.0).rule == "(default)"
    begun.passed(11.0)
    assert begun.in_force.decide(back, "outside", 11.0).rule == "(established)"


@pytest.mark.root
@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_a_kernel_goes_back_to_what_it_had() -> None:
    old, new = (nftables_table(each, inside="in0", outside="out0") for each in (OPEN, SHUT))
    change = Change.between(old, new)
    with kernel_router(old.text(), inside=()):
        before = in_router("nft", "-s", "list", "ruleset")
        in_router("nft", "-f", "-", text=change.forward)
        assert in_router("nft", "-s", "list", "ruleset") != before
        in_router("nft", "-f", "-", text=change.back)
        assert in_router("nft", "-s", "list", "ruleset") == before


@given(policies(), policies(), st.sampled_from(["flat", "maps"]))
def test_there_is_a_way_back_exactly_where_there_was_a_way(one: Ruleset, other: Ruleset, layout: str) -> None:
    tables = [
        nftables_table(Ruleset(each.rules, each.default, each.inside, Nat()), inside="a", outside="b", layout=layout)  # type: ignore[arg-type]
        for each in (one, other)
    ]
    change = Change.between(*tables)
    assert bool(change.forward) == bool(change.back) == (tables[0] != tables[1])
