from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.attest.launched import Desk, launched
from vafw.attest.key import AttestationKey
from vafw.attest.quote import (
    appraise_boot,
    appraise_nonce,
    appraise_selection,
    appraise_signature,
    appraise_values,
    read_quote,
)
from vafw.attest.result import Tier
from vafw.attest.verifier import Verifier
from vafw.tcg import LAUNCH_PCRS, LAUNCH_SELECTION, SHA1, SHA256, ClockInfo, PcrSelection, QuoteAttest
from vafw.tcg.signature import encode_signature

QUOTE = QuoteAttest(b"name", b"nonce", ClockInfo(7, 2, 1, True), 1, LAUNCH_SELECTION, bytes(32))


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({SHA1: LAUNCH_PCRS}, "SHA-1:17,18,19"),
        ({SHA256: (17, 18)}, "SHA-256:17,18"),
        ({SHA256: (16, 17, 18, 19)}, "SHA-256:16,17,18,19"),
        ({SHA256: ()}, "SHA-256:none"),
        ({SHA256: LAUNCH_PCRS, SHA1: (17,)}, "SHA-256:17,18,19 and SHA-1:17"),
        ({}, ""),
    ],
)
def test_a_quote_of_another_selection_is_refused(selection: dict[int, tuple[int, ...]], found: str) -> None:
    claim = appraise_selection(replace(QUOTE, selection=PcrSelection.of(selection)))
    assert claim.reason == "the quote must cover PCR 17, 18 and 19 of the SHA-256 bank, and the same of any other bank"
    assert (claim.tier, claim.expected, claim.found) == (Tier.CONTRAINDICATED, "SHA-256:17,18,19", found)


def test_a_quote_that_names_a_bank_twice_is_refused() -> None:
    twice = PcrSelection(((SHA256, LAUNCH_PCRS), (SHA256, LAUNCH_PCRS)))
    assert appraise_selection(replace(QUOTE, selection=twice)).tier is Tier.CONTRAINDICATED


def test_a_narrowed_quote_with_a_good_signature_is_refused() -> None:
    desk = Desk(launched())
    nonce = desk.verifier.challenge()
    quote, signature = desk.machine.tpm.quote(nonce, PcrSelection.of({SHA256: (23,)}))
    claim = desk.ask_for(nonce, quote=quote, signature=signature).first_failure
    assert claim is not None
    assert (claim.name, claim.found) == ("pcr-selection", "SHA-256:23")


def test_a_longer_nonce_is_refused() -> None:
    claim = appraise_nonce(replace(QUOTE, nonce=b"nonce+"), b"nonce")
    assert (claim.tier, claim.expected, claim.found) == (Tier.CONTRAINDICATED, b"nonce".hex(), b"nonce+".hex())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quote": b"\xfe" + QUOTE.encode()[1:]},
         "byte 0: the magic must be 0xff544347 (TPM_GENERATED), not 0xfe544347"),
        ({"quote": QUOTE.encode() + b"\0"}, "byte 94: nothing may follow the structure, and 1 B do"),
        ({"quote": QUOTE.encode()[:5] + b"\x17" + QUOTE.encode()[6:]},
         "byte 4: the type must be 0x8018 (TPM_ST_ATTEST_QUOTE), not 0x8017"),
    ],
)  # fmt: skip
def test_what_is_no_quote_is_refused_with_the_byte(change: dict[str, bytes], reason: str) -> None:
    claim, quote = read_quote(replace(launched().evidence(b""), **change))  # type: ignore[arg-type]
    assert quote is None
    assert claim.reason == f"the quote is not one that a TPM made: TPMS_ATTEST, {reason}"


def test_the_hash_algorithm_of_a_signature_cannot_be_downgraded() -> None:
    machine = launched()
    evidence = machine.evidence(b"")
    weaker = evidence.signature[:2] + b"\x00\x04" + evidence.signature[4:]
    claim = appraise_signature(replace(evidence, signature=weaker), AttestationKey(machine.tpm.ak_area))
    assert claim.reason == (
        "the signature is not one that a TPM made: TPMT_SIGNATURE, byte 2: "
        "the hash algorithm must be 0xb (SHA-256), not 0x4"
    )


def test_values_of_a_register_that_was_not_quoted_are_refused() -> None:
    evidence = launched().evidence(b"")
    quote = QuoteAttest.decode(evidence.quote)
    claim = appraise_values(quote, replace(evidence, pcrs={**evidence.pcrs, 20: bytes(32)}))
    assert claim.reason == "the evidence must report SHA-256 values of exactly the PCRs that were quoted"
    assert (claim.expected, claim.found) == ("PCR 17, 18, 19", "PCR 17, 18, 19, 20")


def test_values_of_a_bank_that_was_not_quoted_are_refused() -> None:
    evidence = launched().evidence(b"")
    quote = replace(QuoteAttest.decode(evidence.quote), selection=PcrSelection.of({SHA256: LAUNCH_PCRS}))
    assert appraise_values(quote, evidence).reason == "the quote covers no PCR of SHA-1, and values are reported"


def test_an_unsafe_clock_is_refused() -> None:
    claim = appraise_boot(replace(QUOTE, clock_info=ClockInfo(7, 2, 1, False)), None)
    assert claim.reason == ("the TPM's clock is not safe after a power cut: it may run through times it already signed")


@pytest.mark.parametrize("latest", [ClockInfo(8, 2, 1, True), ClockInfo(0, 2, 2, True), ClockInfo(0, 3, 0, True)])
def test_a_quote_older_than_the_latest_is_refused(latest: ClockInfo) -> None:
    claim = appraise_boot(QUOTE, latest)
    assert claim.reason == "the quote is older than one already seen of this machine, by the TPM's own counts"
    assert claim.found == "reset 2 restart 1 clock 7 ms"


def test_a_quote_at_the_same_moment_as_the_latest_is_affirmed() -> None:
    assert appraise_boot(QUOTE, QUOTE.clock_info).tier is Tier.AFFIRMING


def test_a_key_that_signs_anything_can_forge_and_so_only_the_enrolled_key_counts() -> None:
    desk = Desk(launched())
    key = ec.generate_private_key(ec.SECP256R1())
    nonce = desk.verifier.challenge()
    evidence = desk.machine.evidence(nonce)
    forged = encode_signature(key.sign(evidence.quote, ec.ECDSA(hashes.SHA256())))
    claim = desk.appraise(replace(evidence, signature=forged), nonce).first_failure
    assert claim is not None
    assert claim.name == "quote-signature"
    assert isinstance(desk.verifier, Verifier)
