"""Proposals: what somebody is shown is what the signature is for, whatever was done to the file."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.control.parts import PEOPLE, approved, statement
from vafw.control.approval import NAMESPACE, Kind
from vafw.control.envelope import Version, digest_of
from vafw.control.proposal import Proposal, ProposalInvalid
from vafw.errors import Refused, UsageError
from vafw.openssh.signature import sign
from vafw.trace import Value

REST: dict[str, Value] = {"name": "rest", "ports": [f"{port}" for port in range(8000, 8010)]}
BEFORE: dict[str, Value] = {
    "block": ["ads.example", "tracker.example"],
    "rules": [{"name": "web", "ports": ["80", "443"], "log": False}, REST],
}
AFTER: dict[str, Value] = {
    "block": ["ads.example", "more.example", "tracker.example"],
    "rules": [{"name": "web", "ports": ["443"], "log": False}, REST],
    "limit": 7,
}
ASKED = replace(statement(Version(1, 3), BEFORE, AFTER), changes=("config.limit=7",))
PROPOSAL = Proposal(ASKED, BEFORE, AFTER)
WRONG = "a proposal must be as vafw config propose wrote it: "


def test_it_survives_its_file_with_its_signatures() -> None:
    signed = PROPOSAL.signed(sign(ASKED.data, NAMESPACE, PEOPLE["anna"]))
    assert Proposal.read(signed.text.encode()) == signed
    assert signed.approval == approved(ASKED, "anna")


def test_what_is_shown() -> None:
    assert list(PROPOSAL.shown()) == [
        "set of firewall on lab: generation 1.3 is followed by 1.4",
        "  config.limit=7",
        "to be applied before 2026-01-01T01:00:00.000Z",
        '- block: ["ads.example", "tracker.example"]',
        '- rules[web]: {"log": false, "name": "web", "ports": ["80", "443"]}',
        '+ block: ["ads.example", "more.example", "tracker.example"]',
        "+ limit: 7",
        '+ rules[web]: {"log": false, "name": "web", "ports": ["443"]}',
    ]


def test_a_rollback_a_trial_and_a_confirmation_are_shown_as_what_they_are() -> None:
    back = replace(ASKED, kind=Kind.ROLLBACK, changes=(), to=Version(1, 1), trial_s=30.0)
    shown = list(Proposal(back, BEFORE, AFTER).shown())
    assert shown[:2] == [
        "rollback of firewall on lab: generation 1.3 is followed by 1.4, on trial for 30 s",
        "  back to 1.1",
    ]
    stays = replace(ASKED, kind=Kind.CONFIRM, before=ASKED.after, changes=())
    assert list(Proposal(stays, AFTER, AFTER).shown()) == [
        "confirm of firewall on lab: generation 1.3 stays",
        "to be applied before 2026-01-01T01:00:00.000Z",
        "the configuration stays as it is",
    ]


def test_text_that_a_terminal_would_obey_is_shown_as_what_it_is() -> None:
    hostile = "config.x=\x1b[2Knothing \u202e"
    after: dict[str, Value] = {"\x1b[2K": "\u202e"}
    shown = list(Proposal(replace(statement(Version(1, 1), {}, after), changes=(hostile,)), {}, after).shown())
    assert shown[1] == '  "config.x=\\u001b[2Knothing \\u202e"'
    assert all(line.isascii() and line.isprintable() for line in shown)


def test_each_key_signs_once_and_only_this() -> None:
    mine = sign(ASKED.data, NAMESPACE, PEOPLE["anna"])
    with pytest.raises(UsageError, match=r"^each key must sign once, and SHA256:\S+ has signed already$"):
        PROPOSAL.signed(mine).signed(mine)
    with pytest.raises(Refused, match=r"^a signature must be of what is to be signed, and that by SHA256:\S+ is not$"):
        PROPOSAL.signed(sign(b"something else", NAMESPACE, PEOPLE["anna"]))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"more": 1}, "it has other keys, or is of another kind"),
        ({"vafw": 2}, "it has other keys, or is of another kind"),
        ({"statement": 7}, "a statement must have the keys after, appliance, "),
        ({"before": {}}, "its configurations are not those that its statement is about"),
        ({"after": {**AFTER, "limit": 8}}, "its configurations are not those that its statement is about"),
        ({"difference": ["+ harmless: true"]}, "the difference that it shows is not that of its two configurations"),
        ({"signatures": 1}, "an approval must have a list of signatures"),
        (
            {"signatures": list(approved(replace(ASKED, changes=()), "anna").signatures)},
            "a signature must be of what is to be signed, and that by SHA256:",
        ),
    ],
)
def test_an_altered_file_is_refused(changed: dict[str, Any], said: str) -> None:
    fields = {**json.loads(PROPOSAL.text), **changed}
    with pytest.raises(ProposalInvalid) as refused:
        Proposal.read(json.dumps(fields).encode())
    assert refused.value.message.startswith(f"{WRONG}{said}")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ProposalInvalid, match=r"^a proposal must be a file that vafw config propose wrote: a message"):
        Proposal.read(b"no")


CONFIGURATIONS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text("ab.", max_size=3),
    st.recursive(
        st.none() | st.integers(0, 9) | st.text("xy", max_size=60),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "a", ""]), inner, max_size=3)
        ),
        max_leaves=12,
    ),
    max_size=4,
)


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_two_configurations_that_differ_are_never_shown_as_the_same(
    before: dict[str, Value], after: dict[str, Value]
) -> None:
    lines = list(Proposal(statement(Version(1, 1), before, after), before, after).difference())
    assert bool(lines) == (digest_of(before) != digest_of(after))
    assert all(line[:2] in ("- ", "+ ") for line in lines)


@given(st.binary(max_size=200) | st.integers(0, len(PROPOSAL.text) - 2).map(lambda at: PROPOSAL.text.encode()[:at]))
def test_whatever_stands_in_a_file_it_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ProposalInvalid):
        Proposal.read(data)
