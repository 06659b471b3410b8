"""A verifier for many machines: who asks is known by enrolment alone, and what comes back is signed.

    ask ─▶ challenge (a nonce of ours, single use) ─▶ evidence ─▶ result: claims for people, a token for the gate

Pure but for its clock: messages in, messages out, so that any wire carries it (`vafw.control.verifier` is MQTT's).
What the wire says of its users counts for nothing here: a message speaks for a platform only as far as its quote is
signed by that platform's enrolled key. Nobody can make it work for nothing: each platform has a rate, and so has
everybody else together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from vafw.attest.enrolment import Identity
from vafw.attest.evidence import RootOfTrust
from vafw.attest.evidence_json import evidence_from_json, read_object
from vafw.attest.ledger import Ledger, RecordKind
from vafw.attest.reference import ReferenceValues
from vafw.attest.token import ResultSigner
from vafw.attest.verifier import Verifier
from vafw.clock import Clock
from vafw.errors import VafwError
from vafw.trace import Value
from vafw.wire import FormatError

RATE_PER_MINUTE: Final = 12
"""Messages that one platform may send; a start needs two, and re-attestation two each time."""
RATE_OF_STRANGERS: Final = 30
"""Messages a minute of platforms that nobody enrolled, all together."""
_MOST_ID: Final = 64


@dataclass(frozen=True, slots=True)
class Watched:
    """One machine, and what it must be about to run."""

    identity: Identity
    reference: ReferenceValues
    plan_name: str
    plan_digest: bytes
    documents: Mapping[str, str]
    images: tuple[str, ...]
    required_root: RootOfTrust | None = None


class _Rate:
    """A bucket that fills by the minute."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._left, self._at = float(per_minute), clock.monotonic()

    def take(self) -> bool:
        """Whether one more may come now."""
        now = self._clock.monotonic()
        self._left = min(self._per_minute, self._left + (now - self._at) * self._per_minute / 60)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True)
class _Seat:
    watched: Watched
    verifier: Verifier
    rate: _Rate


@final
class VerifierDesk:
    """Appraises for every machine that it watches."""

    def __init__(
        self,
        watched: Mapping[str, Watched],
        signer: ResultSigner,
        clock: Clock,
        random: Callable[[int], bytes],
        ledger: Ledger | None = None,
    ) -> None:
        """`watched` by platform; `random(n)` gives n unpredictable bytes; results are kept in `ledger`."""
        self._signer = signer
        self._ledger = ledger
        self._strangers = _Rate(RATE_OF_STRANGERS, clock)
        self._seats = {
            platform: _Seat(
                each, Verifier(each.reference, each.identity.ak, clock, random), _Rate(RATE_PER_MINUTE, clock)
            )
            for platform, each in watched.items()
        }

    def ask(self, platform: str, message: bytes) -> bytes | None:
        """Answer a request for a challenge; None where silence is the answer, as the asker goes beyond its rate."""
        return self._answer(platform, message, lambda seat, _content: {"nonce": seat.verifier.challenge().hex()})

    def evidence(self, platform: str, message: bytes) -> bytes | None:
        """Answer evidence; None where silence is the answer."""
        return self._answer(platform, message, self._appraise)

    def _answer(
        self, platform: str, message: bytes, work: Callable[[_Seat, dict[str, Any]], dict[str, Value]]
    ) -> bytes | None:
        seat = self._seats.get(platform)
        if not (seat.rate if seat is not None else self._strangers).take():
            return None
        reply: dict[str, Value] = {}
        try:
            content = read_object(message)
            reply["id"] = str(content.get("id", ""))[:_MOST_ID]
            if seat is None:
                raise FormatError("request", f"no machine is enrolled as {platform}")
            reply |= work(seat, content)
        except VafwError as error:
            reply["error"] = error.message
        except Exception as error:  # fails closed: an error is no result
            reply["error"] = f"this is a fault of the verifier: {type(error).__name__}"
        return json.dumps(reply).encode()

    def _appraise(self, seat: _Seat, content: dict[str, Any]) -> dict[str, Value]:
        watched = seat.watched
        try:
            nonce = bytes.fromhex(content["nonce"])
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError("evidence", "it must name the nonce that it answers") from error
        result = seat.verifier.appraise(
            evidence_from_json(content.get("evidence")),
            nonce,
            watched.plan_digest,
            watched.documents,
            watched.images,
            plan_name=watched.plan_name,
            required_root=watched.required_root,
        )
        platform, ak = watched.identity.platform, watched.identity.ak.name
        if self._ledger is not None:
            kept = {key: value for key, value in result.to_json().items() if key != "pcrs"}
            self._ledger.append(RecordKind.RESULT, platform, kept)
        return {"result": result.to_json(), "token": self._signer.jwt(result, platform, watched.plan_name, ak)}
