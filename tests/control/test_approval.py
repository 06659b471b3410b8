"""What people signed, at the agent: it takes that and nothing else, whoever holds the controller's key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.control.parts import (
    AGENT_KEY,
    BOTH,
    CONTROLLER_KEY,
    FOREIGN_KEY,
    HOUR,
    NOW,
    PEOPLE,
    MemoryApplier,
    approved,
    sealed,
    statement,
)
from vafw.clock import ManualClock
from vafw.control.access import Access
from vafw.control.agent import Agent, Identity, Outcome, Running
from vafw.control.approval import Approval, Charter, Kind, NotApproved, Statement, controller_of
from vafw.control.bus import MqttLine
from vafw.control.envelope import MAXIMUM_SKEW, Version, digest_of
from vafw.control.start import Start
from vafw.errors import Refused
from vafw.openssh.signature import sign
from vafw.trace import Value

NOWHERE = MqttLine("127.0.0.1", 1, "firewall")
ONE: dict[str, Value] = {"port": 1}
TWO: dict[str, Value] = {"port": 2}
FIRST, SECOND = Version(1, 1), Version(1, 2)
CHANGE = statement(FIRST, ONE, TWO)
TRIAL = replace(CHANGE, trial_s=30.0)
STAYS = replace(CHANGE, kind=Kind.CONFIRM, base=SECOND, before=digest_of(TWO), changes=())
CHARTER = Charter("lab", "firewall", CONTROLLER_KEY.public_key(), BOTH)
IDENTITY = Identity("lab", "firewall", AGENT_KEY, CONTROLLER_KEY.public_key(), BOTH)
NOBODY = "a change to generation 1.2 of firewall must be signed by 2 of anna, ben, and is signed by nobody"
SIGNED = approved(CHANGE, "anna", "ben")


def agent(applier: MemoryApplier, clock: ManualClock | None = None) -> Agent:
    """One that runs generation 1.1, and asks for two people's signatures."""
    return Agent(
        IDENTITY, NOWHERE, applier, clock or ManualClock(NOW), started_with=Running(FIRST, digest_of(ONE), ONE)
    )


async def test_what_two_people_signed_is_applied() -> None:
    applier = MemoryApplier()
    report = await agent(applier).take(sealed(2, TWO, approval=SIGNED))
    assert (report.outcome, report.running, applier.applied) == (Outcome.APPLIED, SECOND, [TWO])


async def test_the_order_of_signatures_is_nobodys_concern() -> None:
    report = await agent(MemoryApplier()).take(sealed(2, TWO, approval=approved(CHANGE, "ben", "anna")))
    assert report.outcome is Outcome.APPLIED


def of_namespace(namespace: str) -> Approval:
    return Approval(CHANGE, tuple(str(sign(CHANGE.data, namespace, PEOPLE[name])) for name in ("anna", "ben")))


UNLIKE = f"what was signed leads to generation 1.2 with {digest_of(TWO)}, not to"
EXPIRED = replace(CHANGE, expires=NOW - MAXIMUM_SKEW)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (sealed(2, TWO), NOBODY),
        (sealed(2, TWO, approval=Approval(CHANGE, ())), NOBODY),
        (sealed(2, TWO, approval=approved(CHANGE, "anna")), NOBODY.replace("nobody", "anna")),
        (
            sealed(2, TWO, approval=approved(CHANGE, "anna", "anna")),
            "a change to generation 1.2 of firewall must be signed by each person once, and anna signed twice",
        ),
        (
            sealed(2, TWO, approval=approved(CHANGE, "anna", "carla")),
            "a change to generation 1.2 of firewall must be signed by 2 of anna, ben, not by another key",
        ),
        (
            sealed(2, TWO, approval=approved(replace(CHANGE, appliance="dns"), "anna", "ben")),
            "what was signed must be for lab firewall, not for lab dns",
        ),
        (
            sealed(2, TWO, approval=approved(replace(CHANGE, workstation="kiosk"), "anna", "ben")),
            "what was signed must be for lab firewall, not for kiosk firewall",
        ),
        (
            sealed(
                2,
                TWO,
                approval=approved(replace(CHANGE, controller=controller_of(FOREIGN_KEY.public_key())), "anna", "ben"),
            ),
            "what was signed must be for this installation of lab, and is for another one",
        ),
        (sealed(3, TWO, approval=SIGNED), f"{UNLIKE} 1.3 with {digest_of(TWO)}"),
        (sealed(2, {"port": 3}, approval=SIGNED), f"{UNLIKE} 1.2 with {digest_of({'port': 3})}"),
        (sealed(2, TWO, epoch=2, approval=SIGNED), f"{UNLIKE} 2.2 with {digest_of(TWO)}"),
        (
            sealed(2, TWO, approval=approved(EXPIRED, "anna", "ben")),
            "a change to generation 1.2 of firewall must be made before 2025-12-31T23:55:00.000Z, and it is "
            "2026-01-01T00:00:00.000Z; sign it anew",
        ),
        (sealed(2, TWO, trial_s=30, approval=SIGNED), "what was signed is for good, not on trial for 30 s"),
        (
            sealed(2, TWO, trial_s=60, approval=approved(TRIAL, "anna", "ben")),
            "what was signed is on trial for 30 s, not on trial for 60 s",
        ),
        (
            sealed(2, TWO, approval=approved(TRIAL, "anna", "ben")),
            "a confirmation of generation 1.2 of firewall must be signed by 2 of anna, ben, and is signed by nobody",
        ),
        (
            sealed(2, TWO, approval=approved(STAYS, "anna", "ben")),
            "a change to generation 1.2 must be signed as one, not as a confirmation",
        ),
        (
            sealed(2, TWO, approval=of_namespace("file")),
            "a signature must be an SSHSIG by an ssh-ed25519 key, as ssh-keygen -Y sign writes it: its namespace must "
            "be vafw-config, not 'file'",
        ),
    ],
)
async def test_what_was_not_signed_for_this_is_refused_and_nothing_is_applied(message: bytes, reason: str) -> None:
    applier = MemoryApplier()
    report = await agent(applier).take(message)
    assert (report.outcome, report.reason) == (Outcome.REFUSED, reason)
    assert (report.running, report.digest, applier.applied) == (FIRST, digest_of(ONE), [])


@pytest.mark.parametrize("field", sorted(set(CHANGE.to_json()) - {"v"}))
async def test_a_statement_altered_after_it_was_signed_is_refused(field: str) -> None:
    others: dict[str, Any] = {
        "kind": Kind.PUSH,
        "workstation": "kiosk",
        "appliance": "dns",
        "controller": "sha256:0",
        "base": SECOND,
        "before": "sha256:0",
        "after": "sha256:0",
        "changes": (),
        "to": FIRST,
        "trial-s": 1.0,
        "expires": NOW + 2 * HOUR,
    }
    altered = replace(CHANGE, **{field.replace("-", "_"): others[field]})
    report = await agent(MemoryApplier()).take(sealed(2, TWO, approval=Approval(altered, SIGNED.signatures)))
    assert report.outcome is Outcome.REFUSED
    with pytest.raises(Refused, match=r"^a signature must be of what is to be signed, and that by SHA256:\S+ is not$"):
        Approval(altered, SIGNED.signatures).signers(BOTH)


async def test_a_guests_clock_may_be_a_little_ahead() -> None:
    last = replace(CHANGE, expires=NOW - MAXIMUM_SKEW + timedelta(seconds=1))
    report = await agent(MemoryApplier()).take(sealed(2, TWO, approval=approved(last, "anna", "ben")))
    assert report.outcome is Outcome.APPLIED


async def test_a_generation_that_changes_nothing_needs_nobody() -> None:
    one = agent(MemoryApplier())
    assert (await one.take(sealed(7, ONE))).running == Version(1, 7)
    assert (await one.take(sealed(7, ONE, epoch=2))).running == Version(2, 7)


async def test_a_trial_that_changes_nothing_needs_signatures_all_the_same() -> None:
    report = await agent(MemoryApplier()).take(sealed(2, ONE, trial_s=30))
    assert (report.outcome, report.reason) == (Outcome.REFUSED, NOBODY)


async def test_what_runs_is_not_asked_for_signatures_again() -> None:
    one = agent(MemoryApplier())
    await one.take(sealed(2, TWO, approval=SIGNED))
    assert (await one.take(sealed(2, TWO))).reason == "it runs already"


@pytest.mark.parametrize(
    ("confirmation", "reason"),
    [
        (None, "and is signed by nobody"),
        (approved(STAYS, "ben"), "and is signed by ben"),
        (approved(replace(STAYS, base=Version(1, 3)), "anna", "ben"), "and is a confirmation of generation 1.3 of "),
        (approved(replace(STAYS, after=digest_of(ONE)), "anna", "ben"), f"generation 1.2 with {digest_of(TWO)}, and"),
        (approved(replace(TRIAL, base=FIRST), "anna", "ben"), "and is a change to generation 1.2 of firewall"),
        (
            approved(replace(STAYS, expires=NOW - MAXIMUM_SKEW), "anna", "ben"),
            "must be made before 2025-12-31T23:55:00.000Z",
        ),
    ],
)
async def test_a_trial_that_people_do_not_confirm_goes_back(confirmation: Approval | None, reason: str) -> None:
    applier, clock = MemoryApplier(), ManualClock(NOW)
    one = agent(applier, clock)
    tried = await one.take(sealed(2, TWO, trial_s=30, approval=approved(TRIAL, "anna", "ben")))
    assert tried.outcome is Outcome.ON_TRIAL
    said = await one.take(sealed(2, TWO, approval=approved(TRIAL, "anna", "ben"), confirmation=confirmation))
    assert (said.outcome, said.running) == (Outcome.REFUSED, SECOND)
    assert reason in said.reason
    clock.advance(30)
    gone = await one.take(sealed(2, TWO, approval=approved(TRIAL, "anna", "ben"), confirmation=confirmation))
    assert (gone.outcome, applier.applied) == (Outcome.WENT_BACK, [TWO, ONE])


async def test_a_trial_that_people_confirm_stays() -> None:
    applier, clock = MemoryApplier(), ManualClock(NOW)
    one = agent(applier, clock)
    await one.take(sealed(2, TWO, trial_s=30, approval=approved(TRIAL, "anna", "ben")))
    clock.advance(29)
    said = await one.take(sealed(2, TWO, confirmation=approved(STAYS, "anna", "ben")))
    assert (said.outcome, said.running, applier.applied) == (Outcome.CONFIRMED, SECOND, [TWO])


async def test_an_agent_that_was_away_takes_what_was_confirmed_meanwhile() -> None:
    confirmation = approved(STAYS, "anna", "ben")
    message = sealed(2, TWO, approval=approved(TRIAL, "anna", "ben"), confirmation=confirmation)
    report = await agent(MemoryApplier()).take(message)
    assert (report.outcome, report.running) == (Outcome.APPLIED, SECOND)


async def test_what_went_back_stays_away_whoever_signed_it() -> None:
    applier, clock = MemoryApplier(), ManualClock(NOW)
    one = agent(applier, clock)
    tried = sealed(2, TWO, trial_s=30, approval=approved(TRIAL, "anna", "ben"))
    await one.take(tried)
    clock.advance(31)
    await one.take(tried)
    assert (await one.take(sealed(3, ONE))).running == Version(1, 3)
    assert (await one.take(tried)).reason == "generation 1.2 must not be lower than 1.3, which runs"
    assert applier.applied[-1] == ONE


def test_an_agent_elsewhere_is_started_with_the_people_and_cannot_be_started_without_a_word_about_them() -> None:
    start = Start(IDENTITY, Access("firewall"), Running(FIRST, digest_of(ONE), ONE))
    fields = json.loads(json.dumps(start.to_json()))
    assert Start.from_json(fields).identity.authority == BOTH
    del fields["authority"]
    with pytest.raises(KeyError, match="authority"):
        Start.from_json(fields)


# -- as JSON --------------------------------------------------------------------------------------------------


def test_an_approval_survives_json() -> None:
    assert Approval.from_json(json.loads(json.dumps(SIGNED.to_json()))) == SIGNED


KEYS = "after, appliance, base, before, changes, controller, expires, kind, to, trial-s, v, workstation"
SHAPE = f"a statement must have the keys {KEYS} and v 1, and no others"
FORM = "a statement must have values of the right form: "


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"more": 1}, SHAPE),
        ({"v": 2}, SHAPE),
        ({"kind": "melt"}, f"{FORM}'melt' is not a valid Kind"),
        (
            {"workstation": "../lab"},
            f"{FORM}a workstation must be lower-case letters, digits and hyphens, 63 at most, ",
        ),
        ({"appliance": 7}, f"{FORM}appliance must be text"),
        ({"base": {"epoch": 1}}, f"{FORM}a version must have epoch and generation"),
        ({"base": {"epoch": 0, "generation": 1}}, f"{FORM}a version must have integers from 1 up"),
        ({"changes": "port=1"}, f"{FORM}it must be a list of text"),
        ({"changes": ["\ud800"]}, f"{FORM}'utf-8' codec can't encode character"),
        ({"trial-s": 0}, f"{FORM}a trial must last more than nothing and 86400 s at most"),
        ({"trial-s": float("nan")}, f"{FORM}a trial must last more than nothing and 86400 s at most"),
        ({"expires": "soon"}, f"{FORM}Invalid isoformat string: 'soon'"),
        ({"expires": "2026-01-01T01:00:00Z"}, "a statement must be written in one way, with 32768 bytes at most"),
        ({"changes": ["x" * 40_000]}, "a statement must be written in one way, with 32768 bytes at most"),
    ],
)
def test_what_is_no_statement_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(NotApproved) as refused:
        Statement.from_json({**CHANGE.to_json(), **changed})
    assert refused.value.message.startswith(said)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([], "an approval must have a statement and signatures, and nothing else"),
        ({"statement": CHANGE.to_json()}, "an approval must have a statement and signatures, and nothing else"),
        ({"statement": CHANGE.to_json(), "signatures": "x"}, "an approval must have a list of signatures"),
        (
            {"statement": CHANGE.to_json(), "signatures": ["x"] * 17},
            "an approval must have 16 signatures at most, not 17",
        ),
    ],
)
def test_what_is_no_approval_is_refused(fields: object, said: str) -> None:
    with pytest.raises(NotApproved) as refused:
        Approval.from_json(fields)
    assert refused.value.message == said


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(CHANGE.to_json())), ANYTHING, max_size=4))
def test_whatever_stands_in_a_statement_it_is_refused_or_means_one_thing(changed: Mapping[str, Any]) -> None:
    fields = {**CHANGE.to_json(), **changed}
    try:
        read = Statement.from_json(fields)
    except NotApproved:
        return
    assert Statement.from_json(json.loads(read.data)) == read


# -- at rest --------------------------------------------------------------------------------------------------


def test_what_is_kept_does_not_expire_and_may_be_carried_by_a_later_generation() -> None:
    old = approved(replace(CHANGE, expires=NOW - 1000 * HOUR), "anna", "ben")
    for version in (SECOND, Version(1, 9), Version(2, 2)):
        CHARTER.admit_kept(version, digest_of(TWO), old, None)


@pytest.mark.parametrize(
    ("approval", "confirmation", "version", "said"),
    [
        (None, None, SECOND, NOBODY),
        (SIGNED, None, FIRST, "what was signed leads to generation 1.2, which is later than 1.1"),
        (
            approved(TRIAL, "anna", "ben"),
            None,
            SECOND,
            "a confirmation of generation 1.2 of firewall must be signed by 2 of anna, ben, and is signed by nobody",
        ),
        (approved(CHANGE, "anna"), None, SECOND, NOBODY.replace("nobody", "anna")),
    ],
)
def test_what_is_kept_without_having_been_allowed_is_refused(
    approval: Approval | None, confirmation: Approval | None, version: Version, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        CHARTER.admit_kept(version, digest_of(TWO), approval, confirmation)
    assert refused.value.message == said


def test_a_confirmed_trial_is_kept() -> None:
    CHARTER.admit_kept(SECOND, digest_of(TWO), approved(TRIAL, "anna", "ben"), approved(STAYS, "ben", "anna"))
