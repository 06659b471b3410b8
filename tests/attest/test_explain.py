from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.attest.launched import SINIT, VMM, Desk, launched, powered_on
from vafw.attest.evidence import LaunchError
from vafw.attest.explain import explain
from vafw.attest.result import AttestationResult
from vafw.tcg import SHA256
from vafw.tcg.algorithms import digest


def test_an_affirming_result_is_one_sentence() -> None:
    result = Desk(launched()).ask()
    assert explain(result) == (f"Everything that was measured is accepted ({len(result.claims)} claims).",)


def test_a_result_without_claims_is_no_pass() -> None:
    nothing = AttestationResult((), b"", datetime(2026, 1, 1, tzinfo=UTC), "none")
    assert explain(nothing) == (
        "Nothing was appraised, so nothing is believed.",
        "Start nothing on this machine until the cause is known.",
    )


def test_another_vmm_is_explained_with_event_and_digests_and_what_to_do() -> None:
    result = Desk(launched(vmm=b"evil", images={"firewall": b"evil", "desktop": b"the desktop"})).ask()
    assert explain(result) == (
        "vmm: the VMM is none of those that the reference values accept.",
        f"Event #10 PCR 17 MLE_HASH: expected {digest(SHA256, VMM).hex()}, found {digest(SHA256, b'evil').hex()}.",
        "Not accepted either: image firewall.",
        "Put the accepted VMM back, or accept this one with `vafw measure --write` if it is meant.",
    )


def test_an_image_is_named_in_the_remedy() -> None:
    result = Desk(launched(images={"firewall": b"evil", "desktop": b"the desktop"})).ask()
    assert explain(result)[-1] == (
        "Put the accepted image firewall back, or accept this one with `vafw measure --write` if it is meant."
    )


def test_a_launch_that_was_broken_off_is_explained_by_its_cause() -> None:
    cause = LaunchError("sinit", "the digest is not the signed one", 0xC0000007, "aa", "bb")
    assert explain(Desk(powered_on()).ask(launch_error=cause)) == (
        "sinit: no measured launch took place: the digest is not the signed one (TXT.ERRORCODE 0xc0000007).",
        "Expected aa, found bb.",
        "Put the accepted SINIT module back, or accept this one with `vafw measure --write` if it is meant.",
    )


@pytest.mark.parametrize("changes", [{"quote": b""}, {"signature": b""}, {"event_log": b""}, {"pcrs": {}}])
def test_every_refusal_is_one_to_four_sentences(changes: dict[str, object]) -> None:
    sentences = explain(Desk(launched(sinit=SINIT)).ask(**changes))
    assert 1 <= len(sentences) <= 4
    assert all(sentence.endswith(".") for sentence in sentences)
