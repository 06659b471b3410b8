"""Attestation results as signed tokens: the same claims as a JWT for people's tools and as a CWT for small ones.

EAT (RFC 9711) with the claims of EAR (draft-ietf-rats-ear): who appraised whom for which audience, when it expires, the
nonce, and the tier of each claim; beside them what binds the result to one boot of one plan: the TPM's reset and
restart counts, the plan's digest, the name of the attestation key that was used.

    AttestationResult ─sign─▶ token ─▶ Checker ─▶ BoundResult ─▶ the gate

Signed with ES256 and nothing else: a checker names the algorithm itself and never takes it from the token. A token
proves who said it; whether it is of this nonce, boot and plan is the gate's to compare, at the moment of use.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, Final, final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from vafw.attest.result import AttestationResult, Tier
from vafw.clock import Clock
from vafw.errors import GateClosed
from vafw.trace import Value

PROFILE: Final = "tag:vafw,2026:ear"
LIFETIME: Final = timedelta(seconds=60)
"""How long a result may be used."""
SKEW: Final = timedelta(seconds=2)
"""How far the clocks of verifier and relying party may differ."""
MOST_BYTES: Final = 64 * 1024
_ALGORITHM: Final = "ES256"
_LABELS: Final = {"iss": 1, "sub": 2, "aud": 3, "exp": 4, "nbf": 5, "iat": 6, "eat_nonce": 10, "eat_profile": 265}
"""Claim keys of CWT (RFC 8392) and EAT (RFC 9711); claims without a number keep their names."""
_NAMES: Final = {label: name for name, label in _LABELS.items()}


class ResultRefused(GateClosed):
    """A token that is no attestation result for this relying party now."""


@dataclass(frozen=True, slots=True)
class BoundResult:
    """What a token says, once its signature, audience and times hold."""

    issuer: str
    audience: str
    platform: str
    tier: Tier
    nonce: bytes
    root_of_trust: str
    resets: int
    restarts: int
    plan_digest: bytes
    ak_name: bytes
    issued_at: datetime
    expires_at: datetime
    claims: Mapping[str, Tier]
    """The tier of each claim by name."""


@final
class ResultSigner:
    """The verifier's key at work."""

    def __init__(self, key: EllipticCurvePrivateKey, issuer: str, clock: Clock) -> None:
        """`key` is on P-256; `issuer` is the verifier's name."""
        self._pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._issuer = issuer
        self._clock = clock

    def jwt(self, result: AttestationResult, platform: str, audience: str, ak_name: bytes) -> str:
        """The result as a JWT."""
        from joserfc import jwt  # deferred with all below: only what signs or checks results needs them
        from joserfc.jwk import ECKey

        claims = self._claims(result, platform, audience, ak_name)
        return jwt.encode({"alg": _ALGORITHM}, claims, ECKey.import_key(self._pem), algorithms=[_ALGORITHM])

    def cwt(self, result: AttestationResult, platform: str, audience: str, ak_name: bytes) -> bytes:
        """The same claims as a CWT."""
        import cbor2

        cwt = _quiet_cwt()
        claims = self._claims(result, platform, audience, ak_name)
        packed = cbor2.dumps({_LABELS.get(name, name): value for name, value in claims.items()})
        key = cwt.COSEKey.from_pem(self._pem, alg=_ALGORITHM)
        return bytes(cwt.COSE.new(alg_auto_inclusion=True).encode(packed, key))

    def _claims(self, result: AttestationResult, platform: str, audience: str, ak_name: bytes) -> dict[str, Any]:
        now = self._clock.wall()
        return {
            "eat_profile": PROFILE,
            "iss": self._issuer,
            "sub": platform,
            "aud": audience,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
            "eat_nonce": result.nonce.hex(),
            "vafw.boot": [result.reset_count, result.restart_count],
            "vafw.plan": result.plan_digest.hex(),
            "vafw.ak": ak_name.hex(),
            "vafw.root-of-trust": result.root_of_trust,
            "submods": {
                "vafw": {
                    "ear.status": result.tier.value,
                    "vafw.claims": {claim.name: claim.tier.value for claim in result.claims},
                }
            },
        }


@final
class ResultChecker:
    """The relying party's side: one verifier's key, one audience."""

    def __init__(self, key: EllipticCurvePublicKey, issuer: str, audience: str, clock: Clock) -> None:
        """Results count only if `issuer` signed them with `key` for `audience`."""
        self._pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    def jwt(self, token: str) -> BoundResult:
        """Check a JWT; ResultRefused says what does not hold."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey

        _require_small(len(token))
        try:
            claims = jwt.decode(token, ECKey.import_key(self._pem), algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise ResultRefused(f"the attestation result is not signed by {self._issuer}: {error}") from error
        return self._bound(claims)

    def cwt(self, token: bytes) -> BoundResult:
        """Check a CWT; ResultRefused says what does not hold. Its times are held against our own clock alone."""
        import cbor2

        cwt = _quiet_cwt()
        _require_small(len(token))
        try:
            found = cbor2.loads(cwt.COSE.new().decode(token, cwt.COSEKey.from_pem(self._pem, alg=_ALGORITHM)))
        except Exception as error:  # whatever a decoder of others makes of bytes that anybody may send
            raise ResultRefused(f"the attestation result is not signed by {self._issuer}: {error}") from error
        labelled: dict[Any, Any] = found if isinstance(found, dict) else {}
        return self._bound({_NAMES.get(label, label): value for label, value in labelled.items()})

    def _bound(self, claims: Mapping[Any, Any]) -> BoundResult:
        try:
            result = _read(claims)
        except (KeyError, ValueError, TypeError, OverflowError, OSError) as error:
            raise ResultRefused(f"the attestation result must have every claim of its profile: {error!r}") from error
        if result.issuer != self._issuer:
            raise ResultRefused(f"the attestation result must be of {self._issuer}, not of {result.issuer}")
        if result.audience != self._audience:
            raise ResultRefused(f"the attestation result must be for {self._audience}, not for {result.audience}")
        now = self._clock.wall()
        if now > result.expires_at:
            raise ResultRefused(f"the attestation result expired at {result.expires_at.isoformat()}")
        if now + SKEW < result.issued_at or result.expires_at - result.issued_at > LIFETIME + SKEW:
            raise ResultRefused(f"the attestation result is of {result.issued_at.isoformat()}, which is not now")
        return result


def _quiet_cwt() -> ModuleType:
    """The library for COSE, whose import warns of a key exchange that nobody here uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("cwt")


def _require_small(size: int) -> None:
    if size > MOST_BYTES:
        raise ResultRefused(f"an attestation result must have at most {MOST_BYTES} bytes, not {size}")


def _read(claims: Mapping[Any, Any]) -> BoundResult:
    if claims["eat_profile"] != PROFILE:
        raise ValueError(f"the profile must be {PROFILE}, not {claims['eat_profile']!r}")
    module = claims["submods"]["vafw"]
    resets, restarts = claims["vafw.boot"]
    tiers = {str(name): Tier(tier) for name, tier in module["vafw.claims"].items()}
    tier = Tier(module["ear.status"])
    if tier is Tier.AFFIRMING and (not tiers or set(tiers.values()) != {Tier.AFFIRMING}):
        raise ValueError("a result is affirming only if every claim is, and there is one")
    return BoundResult(
        issuer=str(claims["iss"]),
        audience=str(claims["aud"]),
        platform=str(claims["sub"]),
        tier=tier,
        nonce=bytes.fromhex(claims["eat_nonce"]),
        root_of_trust=str(claims["vafw.root-of-trust"]),
        resets=int(resets),
        restarts=int(restarts),
        plan_digest=bytes.fromhex(claims["vafw.plan"]),
        ak_name=bytes.fromhex(claims["vafw.ak"]),
        issued_at=datetime.fromtimestamp(int(claims["iat"]), UTC),
        expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
        claims=tiers,
    )


def shown(result: BoundResult) -> dict[str, Value]:
    """A checked result as a JSON object."""
    return {
        "issuer": result.issuer,
        "platform": result.platform,
        "tier": result.tier.value,
        "nonce": result.nonce.hex(),
        "root-of-trust": result.root_of_trust,
        "boot": [result.resets, result.restarts],
        "plan-digest": result.plan_digest.hex(),
        "ak-name": result.ak_name.hex(),
        "expires": result.expires_at.isoformat(),
        "claims": {name: tier.value for name, tier in result.claims.items()},
    }
