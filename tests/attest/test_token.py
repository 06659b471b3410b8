"""Attestation results as tokens: both forms say the same, and whatever was not signed for us, now, is refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import cwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from vafw.attest.result import AttestationResult, Claim, Tier
from vafw.attest.token import ResultChecker, ResultRefused, ResultSigner, shown
from vafw.clock import ManualClock

KEY = ec.derive_private_key(3, ec.SECP256R1())
CLOCK = ManualClock()
GOOD = AttestationResult(
    (Claim("vmm", Tier.AFFIRMING, "known"),), bytes(range(32)), CLOCK.wall(), "model", 3, 1, b"p" * 32
)
SIGNER = ResultSigner(KEY, "verifier", CLOCK)
CHECKER = ResultChecker(KEY.public_key(), "verifier", "laptop", CLOCK)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def token(result: AttestationResult = GOOD, audience: str = "laptop") -> str:
    return SIGNER.jwt(result, "office-pc", audience, b"ak")


def test_both_forms_carry_the_same_claims() -> None:
    found = CHECKER.jwt(token())
    assert found == CHECKER.cwt(SIGNER.cwt(GOOD, "office-pc", "laptop", b"ak"))
    assert (found.tier, found.resets, found.restarts, found.plan_digest) == (Tier.AFFIRMING, 3, 1, b"p" * 32)
    assert (found.nonce, found.platform, found.ak_name) == (GOOD.nonce, "office-pc", b"ak")
    assert shown(found)["claims"] == {"vmm": "affirming"}


def claims() -> dict[str, object]:
    body = token().split(".")[1]
    decoded: dict[str, object] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return decoded


def signed(**changes: object) -> str:
    return jwt.encode({"alg": "ES256"}, {**claims(), **changes}, ECKey.import_key(PEM), algorithms=["ES256"])


def without(name: str) -> str:
    left = {key: value for key, value in claims().items() if key != name}
    return jwt.encode({"alg": "ES256"}, left, ECKey.import_key(PEM), algorithms=["ES256"])


def by_hmac() -> str:
    """The public key taken for the secret of an HMAC: the classic confusion."""
    return jwt.encode({"alg": "HS256"}, claims(), OctKey.import_key(b"k" * 32), algorithms=["HS256"])


@pytest.mark.parametrize("name", sorted(set(claims()) - {"nbf"}))
def test_a_result_that_lacks_a_claim_is_refused(name: str) -> None:
    with pytest.raises(ResultRefused, match=r"^the attestation result must have every claim of its profile: "):
        CHECKER.jwt(without(name))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: signed(iss="another"), "must be of verifier, not of another"),
        (lambda: signed(aud="server"), "must be for laptop, not for server"),
        (lambda: signed(aud=["laptop", "server"]), "must be for laptop, not for ['laptop', 'server']"),
        (lambda: signed(exp=0), "expired at 1970-01-01T00:00:00+00:00"),
        (lambda: signed(iat=claims()["exp"]), "is of 2026-01-01T00:01:00+00:00, which is not now"),
        (lambda: signed(exp=4102444800), "is of 2026-01-01T00:00:00+00:00, which is not now"),
        (lambda: signed(eat_profile="tag:other"), "must have every claim of its profile: "),
        (lambda: signed(submods={"vafw": {"ear.status": "affirming", "vafw.claims": {}}}), "must have every claim "),
        (by_hmac, "is not signed by verifier: "),
        (str, "is not signed by verifier: "),
    ],
)
def test_a_result_that_is_not_for_us_now_is_refused(made: Callable[[], str], message: str) -> None:
    with pytest.raises(ResultRefused, match=f"^the attestation result {re.escape(message)}"):
        CHECKER.jwt(made())


def test_a_result_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(ResultRefused, match=r"^an attestation result must have at most 65536 bytes, not 70000$"):
        CHECKER.jwt("a" * 70000)


def test_a_result_expires_in_both_forms_refused() -> None:
    late = ManualClock(CLOCK.wall() + timedelta(seconds=61))
    checker = ResultChecker(KEY.public_key(), "verifier", "laptop", late)
    with pytest.raises(ResultRefused, match=r"^the attestation result expired at "):
        checker.jwt(token())
    with pytest.raises(ResultRefused, match=r"^the attestation result expired at "):
        checker.cwt(SIGNER.cwt(GOOD, "office-pc", "laptop", b"ak"))


def test_affirming_claims_cannot_hide_one_that_is_not_refused() -> None:
    bad = replace(GOOD, claims=(*GOOD.claims, Claim("sinit", Tier.CONTRAINDICATED, "unknown")))
    assert CHECKER.jwt(token(bad)).tier is Tier.CONTRAINDICATED
    lying = signed(submods={"vafw": {"ear.status": "affirming", "vafw.claims": {"sinit": "contraindicated"}}})
    with pytest.raises(ResultRefused, match="a result is affirming only if every claim is"):
        CHECKER.jwt(lying)


def test_a_cwt_of_another_key_is_refused() -> None:
    other = ResultSigner(ec.derive_private_key(4, ec.SECP256R1()), "verifier", CLOCK)
    with pytest.raises(ResultRefused, match=r"^the attestation result is not signed by verifier: "):
        CHECKER.cwt(other.cwt(GOOD, "office-pc", "laptop", b"ak"))
    with pytest.raises(ResultRefused, match=r"^the attestation result is not signed by verifier: "):
        CHECKER.cwt(bytes(cwt.encode({1: "verifier"}, cwt.COSEKey.from_symmetric_key(b"k" * 32, alg="HS256"))))


@given(st.binary(max_size=200))
def test_noise_is_refused_in_both_forms(noise: bytes) -> None:
    with pytest.raises(ResultRefused):
        CHECKER.cwt(noise)
    with pytest.raises(ResultRefused):
        CHECKER.jwt(noise.decode("latin-1"))


@given(st.integers(0, len(token()) - 1), st.integers(0, 6))
def test_a_changed_character_is_refused_or_changes_nothing(at: int, bit: int) -> None:
    good = token()
    changed = good[:at] + chr(ord(good[at]) ^ 1 << bit) + good[at + 1 :]
    try:
        assert CHECKER.jwt(changed) == CHECKER.jwt(good)  # base64 has bits behind the last byte that say nothing
    except ResultRefused:
        return
