"""Enrolment: which attestation key speaks for which machine, proven once and never changed.

    offer ─▶ keys fit? certificate? ─▶ credential for EK and AK ─▶ TPM activates ─▶ secret back ─▶ Identity, recorded

An `Identity` is made here only, from an activated credential: so that endorsement key, attestation key and platform
cannot be mixed from three sources. The record is immutable: neither another TPM for a platform that has one, nor
another platform for a TPM, nor another key of it. A machine whose TPM was replaced is enrolled under a new name.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vafw.attest.attester import Attester, Offer
from vafw.attest.key import AttestationKey, why_not_an_attestation_key
from vafw.attest.ledger import Ledger, RecordKind
from vafw.clock import Clock
from vafw.errors import GateUnavailable, Refused, VafwError
from vafw.tcg.credential import Credential, make_credential
from vafw.tcg.public import PublicArea, default_endorsement_area, name_of
from vafw.trace import Value
from vafw.wire import FormatError

if TYPE_CHECKING:
    from cryptography import x509

_SECRET_BYTES: Final = 32
_MOST_PENDING: Final = 64
MOST_PLATFORM_NAME: Final = 64


class EnrolmentRefused(Refused):
    """A TPM that cannot be bound to that platform; says which part of its offer does not hold."""


class NotEnrolled(GateUnavailable):
    """No identity is known for a platform, so no evidence of it can be appraised."""


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """One platform, its TPM and its attestation key, bound by an activated credential."""

    platform: str
    ek_name: bytes
    ak: AttestationKey
    certified: bool
    """Whether a certificate authority that was named vouched for the TPM; otherwise whoever enrolled it did."""

    def to_json(self) -> dict[str, Value]:
        """The identity as it is recorded."""
        return {"ek": self.ek_name.hex(), "ak": self.ak.area.hex(), "certified": self.certified}


@final
class Enrolments:
    """The identities that a ledger records."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> tuple[Identity, ...]:
        """Every identity, oldest first; LedgerAltered where the record cannot be trusted."""
        return tuple(
            Identity(
                record.subject,
                bytes.fromhex(str(record.body["ek"])),
                AttestationKey(bytes.fromhex(str(record.body["ak"]))),
                record.body["certified"] is True,
            )
            for record in self._ledger.verified()
            if record.kind is RecordKind.ENROLMENT
        )

    def find(self, platform: str) -> Identity | None:
        """The identity of a platform."""
        return next((each for each in self.all() if each.platform == platform), None)

    def require(self, platform: str, hint: str) -> Identity:
        """The identity of a platform; NotEnrolled, with `hint`, where there is none."""
        if (identity := self.find(platform)) is None:
            raise NotEnrolled(f"the TPM of {platform} must be enrolled before its evidence can be believed", hint=hint)
        return identity

    def bind(self, identity: Identity) -> None:
        """Record a new identity; EnrolmentRefused where one of its three parts is bound to something else already."""
        for known in self.all():
            if known.platform == identity.platform and known.ek_name == identity.ek_name:
                if known.ak.name != identity.ak.name:
                    raise EnrolmentRefused(f"{known.platform} is enrolled with another attestation key of this TPM")
                return
            if known.platform == identity.platform:
                raise EnrolmentRefused(
                    f"{known.platform} is enrolled with another TPM, and an enrolment never changes",
                    hint="enrol the machine under a new name if its TPM was replaced on purpose",
                )
            if known.ek_name == identity.ek_name:
                raise EnrolmentRefused(f"this TPM is enrolled as {known.platform} already, and cannot be two machines")
        self._ledger.append(RecordKind.ENROLMENT, identity.platform, identity.to_json())


@dataclass(frozen=True, slots=True)
class _Pending:
    offer: Offer
    certified: bool
    secret: bytes


@final
class Registrar:
    """Enrols TPMs: the enrolling side of credential activation."""

    def __init__(
        self,
        enrolments: Enrolments,
        clock: Clock,
        random: Callable[[int], bytes],
        authorities: Sequence[x509.Certificate] = (),
    ) -> None:
        """With `authorities`, a TPM must have an endorsement key certificate that one of them issued."""
        self._enrolments = enrolments
        self._clock = clock
        self._random = random
        self._authorities = authorities
        self._pending: dict[str, _Pending] = {}

    def challenge(self, platform: str, offer: Offer) -> Credential:
        """A credential that only the offered TPM can open; EnrolmentRefused where the offer cannot be right."""
        if not platform or len(platform) > MOST_PLATFORM_NAME or not platform.isprintable():
            raise EnrolmentRefused(f"a platform's name must be 1 to {MOST_PLATFORM_NAME} printable characters")
        ek, ak_name = _endorsement_key(offer), _attestation_key(offer)
        certified = self._certified(ek, offer.ek_certificate)
        secret = self._random(_SECRET_BYTES)
        while len(self._pending) >= _MOST_PENDING:
            self._pending.pop(next(iter(self._pending)))
        self._pending[platform] = _Pending(offer, certified, secret)
        return make_credential(ek, ak_name, secret, self._random)

    def complete(self, platform: str, secret: bytes) -> Identity:
        """Bind what was offered, for the secret out of its credential; each challenge is good for one answer."""
        pending = self._pending.pop(platform, None)
        if pending is None:
            raise EnrolmentRefused(f"no enrolment of {platform} is under way")
        if not hmac.compare_digest(secret, pending.secret):
            raise EnrolmentRefused(f"the TPM of {platform} did not open its credential: the keys are not both its own")
        offer = pending.offer
        identity = Identity(platform, name_of(offer.ek), AttestationKey(offer.ak), pending.certified)
        self._enrolments.bind(identity)
        return identity

    def enrol(self, platform: str, attester: Attester) -> Identity:
        """The whole exchange with a TPM at hand."""
        credential = self.challenge(platform, attester.offer())
        try:
            secret = attester.activate(credential)
        except VafwError as error:
            raise EnrolmentRefused(f"the TPM of {platform} cannot open its credential: {error}") from error
        return self.complete(platform, secret)

    def _certified(self, ek: PublicArea, der: bytes) -> bool:
        if not der:
            if self._authorities:
                raise EnrolmentRefused("the TPM must have an endorsement key certificate, and it offers none")
            return False
        from cryptography import x509  # deferred: not every TPM has a certificate

        try:
            certificate = x509.load_der_x509_certificate(der)
            certified = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except ValueError as error:
            raise EnrolmentRefused(f"the endorsement key certificate cannot be read: {error}") from error
        if certified != ek.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
            raise EnrolmentRefused("the endorsement key certificate is of another key than the one offered")
        return bool(self._authorities) and _issued(certificate, self._authorities, self._clock.wall())


def _issued(certificate: x509.Certificate, authorities: Sequence[x509.Certificate], now: datetime) -> bool:
    """True where one of the authorities issued a certificate that is valid now; EnrolmentRefused otherwise."""
    from cryptography import x509  # deferred: see above

    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise EnrolmentRefused("the endorsement key certificate is not valid at this time")
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        if authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return True
    issuer = certificate.issuer.rfc4514_string()
    raise EnrolmentRefused(f"the endorsement key certificate was issued by nobody that is trusted, but by {issuer}")


def _endorsement_key(offer: Offer) -> PublicArea:
    try:
        ek = PublicArea.decode(offer.ek)
    except FormatError as error:
        raise EnrolmentRefused(f"the endorsement key cannot be read: {error}") from error
    if offer.ek != default_endorsement_area(ek.key):
        raise EnrolmentRefused(
            "the endorsement key must be of a default template (TCG EK Credential Profile, L-1 or L-2): "
            "under another, one TPM could be enrolled twice"
        )
    return ek


def _attestation_key(offer: Offer) -> bytes:
    try:
        ak = PublicArea.decode(offer.ak)
    except FormatError as error:
        raise EnrolmentRefused(f"the attestation key cannot be read: {error}") from error
    if problem := why_not_an_attestation_key(ak):
        raise EnrolmentRefused(problem)
    return ak.name
