"""No bit of the evidence can be changed without the change being found."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attest.launched import IMAGES, PLAN, REFERENCE, Desk, flipped, launched
from vafw.attest import log
from vafw.attest.accepted import Acceptance
from vafw.attest.evidence import Evidence
from vafw.attest.expectation import Expectation
from vafw.attest.result import AttestationResult, Tier
from vafw.tcg import SHA1, SHA256, QuoteAttest, decode_log, encode_log, replay
from vafw.tcg.algorithms import digest


@functools.cache
def desk() -> Desk:
    return Desk(launched())


def answered(field: str, bit: int) -> AttestationResult:
    """Take evidence, flip one bit of one field, appraise."""
    nonce = desk().verifier.challenge()
    evidence = desk().machine.evidence(nonce)
    whole: bytes = getattr(evidence, field)
    return desk().ask_for(nonce, **{field: flipped(whole, bit % (8 * len(whole)))})


@given(bit=st.integers(0, 8 * 139 - 1))
@settings(max_examples=200, deadline=None)
def test_no_bit_of_the_quote_can_be_changed(bit: int) -> None:
    assert answered("quote", bit).tier is Tier.CONTRAINDICATED


@pytest.mark.parametrize("byte", range(72))
def test_no_bit_of_the_signature_can_be_changed(byte: int) -> None:
    tiers = {answered("signature", 8 * byte + bit).tier for bit in range(8)}
    assert tiers == {Tier.CONTRAINDICATED}


@given(bit=st.integers(min_value=0))
@settings(max_examples=150, deadline=None)
def test_no_bit_of_the_log_can_be_changed(bit: int) -> None:
    result = answered("event_log", bit)
    assert result.tier is Tier.CONTRAINDICATED
    assert result.first_failure is not None
    assert result.first_failure.name.startswith("log-")
    assert result.first_failure.component in ("log", "sinit", "vmm")


def test_every_single_bit_of_the_log_is_seen() -> None:
    machine = desk().machine
    evidence = machine.evidence(b"")
    quote = QuoteAttest.decode(evidence.quote)
    documents = {"topology": digest(SHA256, b"kind: topology").hex(), "policy": digest(SHA256, b"kind: policy").hex()}
    acceptance = Acceptance(REFERENCE, Expectation(digest(SHA256, PLAN), documents, tuple(IMAGES), "office"))
    truth = replay(machine.events)

    def believed(data: bytes) -> bool:
        claim, events = log.read_log(Evidence(b"", b"", {}, data, evidence.root_of_trust), quote)
        if claim.tier is not Tier.AFFIRMING:
            return False
        return log.appraise_events(events, acceptance).tier is Tier.AFFIRMING and replay(events) == truth

    assert believed(evidence.event_log)
    bits = range(8 * len(evidence.event_log))
    assert [bit for bit in bits if believed(flipped(evidence.event_log, bit))] == []


@pytest.mark.parametrize("bank", [SHA256, SHA1])
@pytest.mark.parametrize("pcr", [17, 18, 19])
def test_no_bit_of_the_reported_pcrs_can_be_changed(bank: int, pcr: int) -> None:
    evidence = desk().machine.evidence(b"")
    banks = {SHA256: dict(evidence.pcrs), SHA1: dict(evidence.further_banks[SHA1])}
    size = len(banks[bank][pcr])
    tiers = set()
    for byte in range(size):
        altered = {each: dict(values) for each, values in banks.items()}
        altered[bank][pcr] = flipped(altered[bank][pcr], 8 * byte + byte % 8)
        tiers.add(desk().ask(pcrs=altered[SHA256], further_banks={SHA1: altered[SHA1]}).tier)
    assert tiers == {Tier.CONTRAINDICATED}


@given(data=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_in_place_of_any_part_is_refused(data: bytes) -> None:
    assert desk().ask(quote=data).tier is Tier.CONTRAINDICATED
    assert desk().ask(signature=data).tier is Tier.CONTRAINDICATED
    assert desk().ask(event_log=data).tier is Tier.CONTRAINDICATED


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_log_told_in_another_order_or_with_events_left_out_or_doubled_is_refused(data: st.DataObject) -> None:
    events = list(desk().machine.events)
    picked = data.draw(st.lists(st.sampled_from(range(len(events))), max_size=len(events)))
    told = [events[index] for index in picked]
    same = [[e for e in told if e.pcr == pcr] for pcr in (17, 18, 19, 255)] == [
        [e for e in events if e.pcr == pcr] for pcr in (17, 18, 19, 255)
    ]
    result = desk().ask(event_log=encode_log(told))
    assert (result.tier is Tier.AFFIRMING) == same
    assert decode_log(encode_log(told)) == tuple(told)
