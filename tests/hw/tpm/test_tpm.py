from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from vafw.hw.tpm import StartupType, Tpm, TpmError
from vafw.tcg import LAUNCH_SELECTION, SHA1, SHA256, PcrSelection, QuoteAttest
from vafw.tcg.signature import Signature

ZERO, ONES = bytes(32), b"\xff" * 32


@pytest.fixture
def tpm() -> Tpm:
    return started()


def started() -> Tpm:
    tpm = Tpm((SHA256, SHA1), lambda length: bytes(range(length)))
    tpm.startup()
    return tpm


def launch(tpm: Tpm, data: bytes) -> None:
    tpm.hash_start()
    tpm.hash_data(data)
    tpm.hash_end()


def test_pcr_17_to_22_are_ones_at_startup_and_the_others_zero(tpm: Tpm) -> None:
    assert [tpm.read(pcr) for pcr in range(24)] == [ZERO] * 17 + [ONES] * 6 + [ZERO]


def test_the_hash_sequence_gives_pcr_17_the_known_answers(tpm: Tpm) -> None:
    launch(tpm, b"SINIT-AND-MLE")
    assert tpm.read(17).hex() == "1092cd5ca3dd592de0be8c0c11f2abddfff8c8982b135a1f84d9a4e59c655be6"
    assert tpm.read(17, SHA1).hex() == "2e781eedcc9c46564b982c01232ca3256f358d84"
    assert [tpm.read(pcr) for pcr in range(18, 23)] == [ZERO] * 5


def test_a_second_launch_replaces_the_first(tpm: Tpm) -> None:
    launch(tpm, b"first")
    tpm.extend(19, {SHA256: ONES}, 2)
    launch(tpm, b"second")
    assert tpm.read(17) == hashlib.sha256(ZERO + hashlib.sha256(b"second").digest()).digest()
    assert tpm.read(19) == ZERO


def test_a_hash_sequence_before_startup_is_the_h_crtm_of_pcr_0() -> None:
    tpm = Tpm((SHA256,), lambda length: bytes(range(length)))
    launch(tpm, b"BIOS ACM")
    tpm.startup()
    locality_4 = bytes(31) + b"\x04"
    assert tpm.read(0) == hashlib.sha256(locality_4 + hashlib.sha256(b"BIOS ACM").digest()).digest()
    assert tpm.read(17) == ONES


def test_hash_data_and_hash_end_outside_a_sequence_change_nothing(tpm: Tpm) -> None:
    tpm.hash_data(b"nobody asked")
    tpm.hash_end()
    assert tpm.read(17) == ONES


def test_an_extend_at_the_wrong_locality_is_refused(tpm: Tpm) -> None:
    with pytest.raises(TpmError) as refused:
        tpm.extend(17, {SHA256: ONES}, 1)
    assert str(refused.value) == "PCR 17 must not be extended at locality 1 (TPM_RC 0x907)"
    assert tpm.read(17) == ONES


def test_a_reset_of_a_launch_pcr_is_refused(tpm: Tpm) -> None:
    with pytest.raises(TpmError) as refused:
        tpm.reset(17, 4)
    assert str(refused.value) == "PCR 17 must not be reset at locality 4 (TPM_RC 0x907)"


def test_an_extend_with_one_bad_digest_extends_no_bank_and_is_refused(tpm: Tpm) -> None:
    before = tpm.read(0)
    with pytest.raises(TpmError) as refused:
        tpm.extend(0, {SHA256: ONES, SHA1: b"short"}, 0)
    assert str(refused.value) == "a digest of SHA-1 must have 20 bytes, not 5 (TPM_RC 0x1d5)"
    assert tpm.read(0) == before


def test_a_command_before_startup_is_refused() -> None:
    with pytest.raises(TpmError) as refused:
        Tpm((SHA256,), lambda length: bytes(range(length))).read(0)
    assert str(refused.value) == "a TPM must be started before it takes commands (TPM_RC 0x100)"


def test_a_power_cut_sets_the_clock_back_and_it_is_not_safe_until_it_has_caught_up(tpm: Tpm) -> None:
    tpm.advance(5000)
    tpm.power_cycle()
    tpm.startup()
    assert (tpm.clock_info.clock_ms, tpm.clock_info.safe) == (4096, False)
    tpm.advance(904)
    assert tpm.clock_info.safe


def test_an_orderly_power_cycle_keeps_the_clock_safe(tpm: Tpm) -> None:
    tpm.advance(5000)
    tpm.shutdown(StartupType.CLEAR)
    tpm.power_cycle()
    tpm.startup()
    assert (tpm.clock_info.clock_ms, tpm.clock_info.safe, tpm.clock_info.reset_count) == (5000, True, 2)


def test_a_quote_is_signed_by_the_attestation_key_over_the_selected_values(tpm: Tpm) -> None:
    launch(tpm, b"SINIT")
    attest, signature = tpm.quote(b"nonce", LAUNCH_SELECTION)
    tpm.ak_public.verify(Signature.decode(signature).value, attest, ec.ECDSA(hashes.SHA256()))
    values = b"".join(tpm.read(pcr, bank) for bank in (SHA256, SHA1) for pcr in (17, 18, 19))
    quote = QuoteAttest.decode(attest)
    assert quote.pcr_digest == hashlib.sha256(values).digest()
    assert (quote.nonce, quote.selection, quote.clock_info) == (b"nonce", LAUNCH_SELECTION, tpm.clock_info)
    assert quote.qualified_signer == tpm.ak_qualified_name


def test_a_quote_of_a_bank_that_the_tpm_lacks_is_refused() -> None:
    tpm = Tpm((SHA256,), lambda length: bytes(range(length)))
    tpm.startup()
    with pytest.raises(TpmError) as refused:
        tpm.quote(b"", LAUNCH_SELECTION)
    assert str(refused.value) == "the TPM must have a bank of SHA-1 PCRs (TPM_RC 0x1c3)"


def test_a_nonce_that_does_not_fit_is_refused(tpm: Tpm) -> None:
    with pytest.raises(TpmError) as refused:
        tpm.quote(bytes(65), PcrSelection.of({SHA256: (17,)}))
    assert str(refused.value) == "a nonce must have at most 64 bytes, not 65 (TPM_RC 0x1d5)"


def test_the_same_randomness_gives_the_same_key_and_the_same_quote(tpm: Tpm) -> None:
    assert started().quote(b"n", LAUNCH_SELECTION) == tpm.quote(b"n", LAUNCH_SELECTION)


def test_nv_indices_survive_a_power_cycle(tpm: Tpm) -> None:
    tpm.nv_define(0x01C10106, 4)
    tpm.nv_write(0x01C10106, b"lcp!")
    tpm.power_cycle()
    tpm.startup()
    assert tpm.nv_read(0x01C10106) == b"lcp!"


def test_repr_names_the_state_and_the_counts(tpm: Tpm) -> None:
    assert repr(tpm) == "<Tpm started resets=1 restarts=0>"


@given(digests=st.lists(st.binary(min_size=32, max_size=32), max_size=8))
def test_extends_fold_from_the_hash_sequence_on(digests: list[bytes]) -> None:
    tpm = started()
    launch(tpm, b"SINIT")
    value = tpm.read(17)
    for digest in digests:
        tpm.extend(17, {SHA256: digest}, 3)
        value = hashlib.sha256(value + digest).digest()
    assert tpm.read(17) == value
