"""Which TPMs can be bound to a platform, and what every other one is refused with."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from vafw.attest.attester import Offer
from vafw.attest.enrolment import EnrolmentRefused, Enrolments, NotEnrolled, Registrar
from vafw.attest.key import AttestationKey
from vafw.attest.ledger import Ledger
from vafw.clock import ManualClock
from vafw.hw.tpm import Tpm
from vafw.provider.model.attester import ModelAttester
from vafw.tcg import SHA256
from vafw.tcg.credential import Credential
from vafw.tcg.public import PublicArea, name_of

CLOCK = ManualClock()


def attester(seed: int) -> ModelAttester:
    tpm = Tpm((SHA256,), random.Random(seed).randbytes)
    tpm.startup()
    return ModelAttester(tpm)


ONE, OTHER = attester(1), attester(2)


def registrar(*authorities: x509.Certificate, enrolments: Enrolments | None = None) -> Registrar:
    return Registrar(enrolments or Enrolments(Ledger(None, CLOCK)), CLOCK, random.Random(3).randbytes, authorities)


def with_bits(area: bytes, *, cleared: int = 0, added: int = 0) -> bytes:
    """The same key with other attributes, as a liar would offer it."""
    attributes = int.from_bytes(area[4:8], "big") & ~cleared | added
    return area[:4] + attributes.to_bytes(4, "big") + area[8:]


def test_a_tpm_that_opens_its_credential_is_bound() -> None:
    enrolments = Enrolments(Ledger(None, CLOCK))
    identity = registrar(enrolments=enrolments).enrol("office-pc", ONE)
    assert identity == replace(enrolments.require("office-pc", ""), ak=identity.ak)
    assert (identity.ek_name, identity.ak.area) == (name_of(ONE.offer().ek), ONE.offer().ak)
    assert not identity.certified


def test_a_platform_that_was_never_enrolled_is_refused() -> None:
    with pytest.raises(
        NotEnrolled, match=r"^the TPM of office-pc must be enrolled before its evidence can be believed$"
    ):
        Enrolments(Ledger(None, CLOCK)).require("office-pc", "enrol it")


def test_enrolling_the_same_tpm_again_changes_nothing() -> None:
    ledger = Ledger(None, CLOCK)
    for _ in range(2):
        registrar(enrolments=Enrolments(ledger)).enrol("office-pc", ONE)
    assert ledger.head[0] == 1


@pytest.mark.parametrize(
    ("platform", "who", "message"),
    [
        ("office-pc", OTHER, "office-pc is enrolled with another TPM, and an enrolment never changes"),
        ("another-pc", ONE, "this TPM is enrolled as office-pc already, and cannot be two machines"),
        ("", OTHER, "a platform's name must be 1 to 64 printable characters"),
        ("x\ny", OTHER, "a platform's name must be 1 to 64 printable characters"),
    ],
)
def test_a_binding_that_contradicts_an_earlier_one_is_refused(platform: str, who: ModelAttester, message: str) -> None:
    enrolments = Enrolments(Ledger(None, CLOCK))
    registrar(enrolments=enrolments).enrol("office-pc", ONE)
    with pytest.raises(EnrolmentRefused, match=f"^{re.escape(message)}$"):
        registrar(enrolments=enrolments).enrol(platform, who)
    assert [each.platform for each in enrolments.all()] == ["office-pc"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ak: with_bits(ak, cleared=1 << 16), "an attestation key must be restricted, and this one is not"),
        (lambda ak: with_bits(ak, cleared=1 << 1), "an attestation key must be fixedTPM, and this one is not"),
        (
            lambda ak: with_bits(ak, cleared=1 << 4 | 1 << 5),
            "an attestation key must be fixedParent and sensitiveDataOrigin, and this one is not",
        ),
        (lambda ak: with_bits(ak, added=1 << 17), "an attestation key must sign only, and this one decrypts too"),
        (
            lambda ak: ak[:14] + b"\x00\x04" + ak[16:],
            "an attestation key must have the scheme ECDSA with SHA-256, not ECDSA with SHA-1",
        ),
        (
            lambda ak: ak[:-1],
            "the attestation key cannot be read: TPMT_PUBLIC, byte 56: y must have 32 bytes, and 31 are left",
        ),
        (
            lambda ak: OTHER.offer().ak,
            "the TPM of office-pc cannot open its credential: the credential must be for this TPM: "
            "TPMS_ID_OBJECT: the credential is not for this object of this TPM (TPM_RC 0x1df)",
        ),
    ],
)
def test_a_key_that_cannot_vouch_is_refused(change: Callable[[bytes], bytes], message: str) -> None:
    liar = Liar(ONE, replace(ONE.offer(), ak=change(ONE.offer().ak)))
    with pytest.raises(EnrolmentRefused, match=f"^{re.escape(message)}$"):
        registrar().enrol("office-pc", liar)  # type: ignore[arg-type]  # it offers and activates; more is not asked


class Liar:
    """A TPM whose host offers something else than it has."""

    def __init__(self, inner: ModelAttester, offer: Offer) -> None:
        self._inner, self._offer = inner, offer

    def offer(self) -> Offer:
        return self._offer

    def activate(self, credential: Credential) -> bytes:
        return self._inner.activate(credential)


def test_a_software_key_beside_a_real_endorsement_key_is_refused() -> None:
    software = AttestationKey.of(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(EnrolmentRefused, match=r"^the TPM of office-pc cannot open its credential: "):
        registrar().enrol("office-pc", Liar(ONE, replace(ONE.offer(), ak=software.area)))  # type: ignore[arg-type]


def test_a_secret_that_was_guessed_is_refused_and_uses_the_challenge_up() -> None:
    desk = registrar()
    credential = desk.challenge("office-pc", ONE.offer())
    with pytest.raises(EnrolmentRefused, match=r"did not open its credential: the keys are not both its own$"):
        desk.complete("office-pc", bytes(32))
    with pytest.raises(EnrolmentRefused, match=r"^no enrolment of office-pc is under way$"):
        desk.complete("office-pc", ONE.activate(credential))


@given(st.binary(max_size=300))
def test_noise_is_no_public_area_and_raises_nothing_else(noise: bytes) -> None:
    with pytest.raises(EnrolmentRefused):
        registrar().challenge("office-pc", Offer(noise, ONE.offer().ak))


@given(st.integers(0, 8 * len(ONE.offer().ek) - 1))
def test_an_endorsement_key_with_any_bit_changed_is_refused(bit: int) -> None:
    changed = bytearray(ONE.offer().ek)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnrolmentRefused, match=r"^the endorsement key "):
        registrar().challenge("office-pc", Offer(bytes(changed), ONE.offer().ak))


def test_the_same_endorsement_key_under_another_template_is_refused() -> None:
    offer = replace(ONE.offer(), ek=with_bits(ONE.offer().ek, added=1 << 10))
    with pytest.raises(EnrolmentRefused, match=r"under another, one TPM could be enrolled twice$"):
        registrar().challenge("office-pc", offer)


def certificate(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, of: object, issuer: x509.Name, *, ca: bool
) -> x509.Certificate:
    now = CLOCK.wall()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(of)  # type: ignore[arg-type]
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip


MAKER = ec.derive_private_key(7, ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "maker")])
NOBODY = x509.Name([])
ROOT = certificate(MAKER, NAME, MAKER.public_key(), NAME, ca=True)
EK = PublicArea.decode(ONE.offer().ek).key


def certified(of: object = EK, by: ec.EllipticCurvePrivateKey = MAKER) -> Offer:
    der = certificate(by, NOBODY, of, NAME, ca=False).public_bytes(Encoding.DER)
    return replace(ONE.offer(), ek_certificate=der)


def test_a_certificate_of_a_trusted_maker_vouches_for_the_tpm() -> None:
    assert registrar(ROOT).enrol("office-pc", Liar(ONE, certified())).certified  # type: ignore[arg-type]
    assert not registrar().enrol("office-pc", Liar(ONE, certified())).certified  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (ONE.offer(), "the TPM must have an endorsement key certificate, and it offers none"),
        (certified(of=MAKER.public_key()), "the endorsement key certificate is of another key than the one offered"),
        (
            certified(by=ec.derive_private_key(8, ec.SECP256R1())),
            "the endorsement key certificate was issued by nobody that is trusted, but by CN=maker",
        ),
        (replace(ONE.offer(), ek_certificate=b"nonsense"), "the endorsement key certificate cannot be read: "),
    ],
)
def test_a_certificate_that_does_not_hold_is_refused(offer: Offer, message: str) -> None:
    with pytest.raises(EnrolmentRefused, match=f"^{re.escape(message)}"):
        registrar(ROOT).challenge("office-pc", offer)


def test_a_certificate_that_has_expired_is_refused() -> None:
    late = ManualClock(CLOCK.wall() + timedelta(days=2))
    desk = Registrar(Enrolments(Ledger(None, late)), late, random.Random(3).randbytes, (ROOT,))
    with pytest.raises(EnrolmentRefused, match=r"^the endorsement key certificate is not valid at this time$"):
        desk.challenge("office-pc", certified())
