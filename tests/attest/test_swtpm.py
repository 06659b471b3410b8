"""The verifier before a TPM that nobody here wrote: the same launch on swtpm, quoted by swtpm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.attest.launched import BANKS, REFERENCE, Desk, Machine, flipped, launched
from tests.hw.tpm.swtpm import Swtpm, needs_swtpm, running
from vafw.attest.evidence import Evidence
from vafw.attest.key import AttestationKey
from vafw.attest.result import Tier
from vafw.attest.verifier import Verifier
from vafw.tcg import LAUNCH_PCRS, LAUNCH_SELECTION, SHA1, SHA256, QuoteAttest, encode_log
from vafw.tcg.public import ENDORSEMENT_HIERARCHY, attestation_key_area, name_of, qualified_name

pytestmark = needs_swtpm


@pytest.fixture
def swtpm(tmp_path: Path) -> Iterator[Swtpm]:
    """Started, and launched as `launched()` is."""
    with running(tmp_path) as tpm:
        tpm.startup()
        start, *measured = launched().events[1:]
        tpm.hash_sequence(start.data)
        for event in measured:
            assert tpm.extend(event.pcr, event.digests, 2) == 0
        yield tpm


def point(public_area: bytes) -> ec.EllipticCurvePublicNumbers:
    x, y = public_area[-66:-34], public_area[-32:]
    return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())


def evidence_of(swtpm: Swtpm, key: int, nonce: bytes) -> Evidence:
    quote, signature = swtpm.quote(key, nonce, LAUNCH_SELECTION)
    banks = {bank: {pcr: swtpm.read(pcr, bank) for pcr in LAUNCH_PCRS} for bank in BANKS}
    log = encode_log(launched().events, BANKS)
    return Evidence(
        quote, signature, banks[SHA256], log, Machine(launched().tpm).root_of_trust, None, {SHA1: banks[SHA1]}
    )


def test_evidence_of_a_real_tpm_is_affirmed_and_one_flipped_bit_of_it_is_not(swtpm: Swtpm) -> None:
    key, public_area, _ = swtpm.create_attestation_key()
    desk = Desk(launched())
    desk.verifier = Verifier(REFERENCE, AttestationKey(public_area), desk.clock, lambda length: bytes(range(length)))
    nonce = desk.verifier.challenge()
    result = desk.appraise(evidence_of(swtpm, key, nonce), nonce)
    assert result.tier is Tier.AFFIRMING
    assert (result.reset_count, result.restart_count) == swtpm.clock() == (1, 1)
    again = desk.verifier.challenge()
    evidence = evidence_of(swtpm, key, again)
    assert desk.appraise(replace(evidence, quote=flipped(evidence.quote, 400)), again).tier is Tier.CONTRAINDICATED


def test_a_real_quote_decodes_to_the_same_bytes(swtpm: Swtpm) -> None:
    key, _, _ = swtpm.create_attestation_key()
    quote, _ = swtpm.quote(key, b"nonce", LAUNCH_SELECTION)
    decoded = QuoteAttest.decode(quote)
    assert decoded.encode() == quote
    assert (decoded.nonce, decoded.selection) == (b"nonce", LAUNCH_SELECTION)


def test_a_real_tpm_gives_our_names_to_the_same_key(swtpm: Swtpm) -> None:
    key, public_area, name = swtpm.create_attestation_key()
    numbers = point(public_area)
    assert attestation_key_area(numbers.x, numbers.y) == public_area
    assert name_of(public_area) == name
    quote, _ = swtpm.quote(key, b"", LAUNCH_SELECTION)
    assert QuoteAttest.decode(quote).qualified_signer == qualified_name(ENDORSEMENT_HIERARCHY, name)
