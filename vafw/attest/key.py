"""The attestation key as a verifier knows it: parsed once, held against every quote.

Not a promise that a TPM has it: that is `vafw.attest.enrolment`'s to establish, which makes keys of what it has proven.
"""

from __future__ import annotations

from typing import Final, final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from vafw.tcg.algorithms import SHA256, algorithm_name
from vafw.tcg.public import (
    ATTESTATION_KEY,
    DECRYPT,
    ENDORSEMENT_HIERARCHY,
    PublicArea,
    attestation_key_area,
    qualified_name,
)
from vafw.tcg.signature import ECDSA, RSAPSS, RSASSA, SCHEME_NAMES, STRUCTURE, Signature
from vafw.wire import FormatError

_SHA256: Final = hashes.SHA256()
_ECDSA_SHA256: Final = ec.ECDSA(_SHA256)
_PKCS1: Final = padding.PKCS1v15()
_PSS: Final = padding.PSS(padding.MGF1(_SHA256), padding.PSS.AUTO)


@final
class AttestationKey:
    """The public part of a restricted signing key."""

    def __init__(self, area: bytes) -> None:
        """From TPMT_PUBLIC; FormatError where it is none, or none that only quotes."""
        public = PublicArea.decode(area)
        if problem := why_not_an_attestation_key(public):
            raise FormatError("TPMT_PUBLIC", problem)
        assert public.scheme is not None
        self.area = area
        self.name = public.name
        self.scheme = public.scheme[0]
        self.qualified_name = qualified_name(ENDORSEMENT_HIERARCHY, public.name)
        """What its quotes name as their signer, if it was made under the endorsement hierarchy."""
        self._key = public.key
        self._rsa: tuple[RSAPublicKey, padding.PKCS1v15 | padding.PSS] | None = None
        if isinstance(public.key, RSAPublicKey):
            self._rsa = public.key, (_PKCS1 if self.scheme == RSASSA else _PSS)
            size = public.key.key_size // 8
            self._rsa_head = b"".join(each.to_bytes(2, "big") for each in (self.scheme, SHA256, size))
            """What each of its signatures begins with: so it is recognised in one comparison."""

    @classmethod
    def of(cls, key: ec.EllipticCurvePublicKey) -> AttestationKey:
        """The attestation key that vafw's own template makes of a point on P-256."""
        point = key.public_numbers()
        return cls(attestation_key_area(point.x, point.y))

    def verify(self, quote: bytes, signature: bytes) -> None:
        """Return if this key signed `quote`; FormatError for no signature of its kind, else InvalidSignature."""
        if self._rsa is not None and signature.startswith(self._rsa_head):
            key, scheme = self._rsa
            key.verify(signature[len(self._rsa_head) :], quote, scheme, _SHA256)
            return
        made = Signature.decode(signature)
        if made.scheme != self.scheme:
            wanted, found = SCHEME_NAMES[self.scheme], SCHEME_NAMES[made.scheme]
            raise FormatError(STRUCTURE, f"the scheme must be that of the key, {wanted}, not {found}", 0)
        if not isinstance(self._key, ec.EllipticCurvePublicKey):
            raise FormatError(STRUCTURE, f"the signature must have {self._key.key_size // 8} bytes", 4)
        self._key.verify(made.value, quote, _ECDSA_SHA256)


def why_not_an_attestation_key(public: PublicArea) -> str:
    """What is wrong with a key for quoting, as one sentence; empty where nothing is."""
    if missing := public.lacks(ATTESTATION_KEY):
        return f"an attestation key must be {' and '.join(missing)}, and this one is not"
    if public.attributes & DECRYPT:
        return "an attestation key must sign only, and this one decrypts too"
    fitting = (ECDSA,) if isinstance(public.key, ec.EllipticCurvePublicKey) else (RSASSA, RSAPSS)
    scheme, algorithm = public.scheme or (0, 0)
    if scheme not in fitting or algorithm != SHA256:
        names = " or ".join(SCHEME_NAMES[each] for each in fitting)
        found = f"{SCHEME_NAMES.get(scheme, 'none')} with {algorithm_name(algorithm)}" if scheme else "none"
        return f"an attestation key must have the scheme {names} with SHA-256, not {found}"
    return ""
