"""The envelope around every configuration and every report: what it is about, how old it is, whose it is.

    {"v": "1.1", "ws": "office-laptop", "id": "firewall", "epoch": 1, "gen": 7, "ts": "…Z", "exp": "…Z",
     "hash": "sha256:…", "body": {…}, "sig": "…"}

`hash` is SHA-256 of the body's canonical JSON; `sig` is Ed25519 (RFC 8032) over the canonical JSON of everything else,
behind the name of the topic's leaf, so that no report can pass for a configuration.
A configuration may have `trial`: so many seconds until it goes back unless the same generation comes once more without
it, which confirms it; and `approval` and `confirmation`, what people signed for it (`approval`). The wire is not
trusted: whatever is not exactly an envelope is refused in a sentence, before anything of it is used. Keys that a later
minor version adds are covered by the signature and otherwise ignored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vafw.control.topics import Place
from vafw.errors import Refused
from vafw.trace import Value

VERSION: Final = "1.1"
"""1.1 added `approval` and `confirmation`."""
MAXIMUM_BYTES: Final = 256 << 10
"""What a portable broker passes on; see the profile in `docs/mqtt-topics.md`."""
MAXIMUM_DEPTH: Final = 32
MAXIMUM_VALUES: Final = 50_000
MAXIMUM_INTEGER: Final = (1 << 53) - 1
"""The largest integer that every JSON reader keeps (RFC 8259, section 6)."""
MAXIMUM_TRIAL_S: Final = 86400.0
"""A day: who has not confirmed by then has forgotten."""
MAXIMUM_SKEW: Final = timedelta(minutes=5)
"""How far the clocks of two ends may stand apart."""
_KEYS: Final = ("v", "ws", "id", "epoch", "gen", "ts", "exp", "hash", "body", "sig")


class EnvelopeRefused(Refused):
    """A message that is no envelope, or not for us, or not from whom it must be."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Which configuration: generations count up within an epoch; restoring an old ledger begins a new epoch."""

    epoch: int
    generation: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.generation}"

    def to_json(self) -> dict[str, Value]:
        """The version as a JSON object."""
        return {"epoch": self.epoch, "generation": self.generation}

    @classmethod
    def from_json(cls, fields: object) -> Version:
        """The inverse of `to_json`; TypeError or ValueError for anything else."""
        if not isinstance(fields, dict) or set(fields) != {"epoch", "generation"}:
            raise TypeError("a version must have epoch and generation")
        numbers = fields["epoch"], fields["generation"]
        if any(type(each) is not int or not 1 <= each <= MAXIMUM_INTEGER for each in numbers):
            raise ValueError("a version must have integers from 1 up")
        return cls(*numbers)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message that was opened: its signature is right and it is for us."""

    workstation: str
    appliance: str
    version: Version
    issued: datetime
    expires: datetime
    body: dict[str, Value]
    digest: str
    """``sha256:`` and the digest of the body, hexadecimal."""
    trial_s: float | None = None
    """Seconds after which it goes back unless it is confirmed; None: it is for good."""
    approval: dict[str, Value] | None = None
    """What people signed for this change, unread."""
    confirmation: dict[str, Value] | None = None
    """What people signed for its staying, unread."""


def canonical(value: Value) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8; ValueError for numbers that JSON has not."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(body: dict[str, Value]) -> str:
    """The digest of a body as envelopes carry it."""
    return f"sha256:{hashlib.sha256(canonical(body)).hexdigest()}"


def seal(
    at: Place,
    version: Version,
    body: dict[str, Value],
    key: Ed25519PrivateKey,
    *,
    now: datetime,
    lifetime: timedelta,
    trial_s: float | None = None,
    approval: dict[str, Value] | None = None,
    confirmation: dict[str, Value] | None = None,
) -> bytes:
    """The bytes of a signed envelope for the topic `at`; EnvelopeRefused where nobody could open it."""
    fields: dict[str, Value] = {
        "v": VERSION,
        "ws": at.workstation,
        "id": at.appliance,
        "epoch": version.epoch,
        "gen": version.generation,
        "ts": stamp(now),
        "exp": stamp(now + lifetime),
        "hash": digest_of(body),
        "body": body,
    }
    given: dict[str, Value] = {"trial": trial_s, "approval": approval, "confirmation": confirmation}
    fields |= {key: value for key, value in given.items() if value is not None}
    _require_modest(fields)
    fields["sig"] = base64.b64encode(key.sign(_signed(at, fields))).decode()
    data = canonical(fields)
    if len(data) > MAXIMUM_BYTES:
        _refuse(f"an envelope must have {MAXIMUM_BYTES} bytes at most, not {len(data)}")
    return data


def unseal(data: bytes, at: Place, key: Ed25519PublicKey, *, now: datetime) -> Envelope:
    """Open what came by the topic `at`, signed by `key`; EnvelopeRefused says what is wrong with it."""
    fields = _fields(data)
    major = str(fields["v"]).partition(".")[0]
    if not isinstance(fields["v"], str) or major != VERSION.partition(".")[0]:
        _refuse(f"v must be 1 or 1.something, not {_shown(fields['v'])}")
    _require_target(fields, at)
    _require_signature(fields, at, key)
    version = Version(_natural(fields, "epoch"), _natural(fields, "gen"))
    body = fields["body"]
    if not isinstance(body, dict):
        _refuse(f"body must be an object, not {_shown(body)}")
    digest = digest_of(body)
    if fields["hash"] != digest:
        _refuse(f"hash must be the body's, {digest}, not {_shown(fields['hash'])}")
    issued, expires = _moment(fields, "ts"), _moment(fields, "exp")
    if issued > now + MAXIMUM_SKEW:
        _refuse(f"ts must not lie in the future: issued {stamp(issued)}, and it is {stamp(now)}")
    if expires <= now - MAXIMUM_SKEW:
        _refuse(f"exp must not have passed: expired {stamp(expires)}, and it is {stamp(now)}")
    signed = (_object(fields, key) for key in ("approval", "confirmation"))
    return Envelope(at.workstation, at.appliance, version, issued, expires, body, digest, _trial(fields), *signed)


def strict_json(data: bytes, *, most_bytes: int = MAXIMUM_BYTES) -> dict[str, Any]:
    """A JSON object without duplicate keys, NaN, depth or numbers beyond reason; EnvelopeRefused else."""
    if len(data) > most_bytes:
        _refuse(f"a message must have {most_bytes} bytes at most, not {len(data)}")
    if _depth(data) > MAXIMUM_DEPTH:
        _refuse(f"a message must be nested {MAXIMUM_DEPTH} deep at most")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, ValueError) as error:
        raise EnvelopeRefused(f"a message must be JSON in UTF-8: {error}") from error
    if not isinstance(value, dict):
        _refuse(f"a message must be a JSON object, not {_shown(value)}")
    _require_modest(value)
    return value


def _fields(data: bytes) -> dict[str, Any]:
    fields = strict_json(data)
    missing = [key for key in _KEYS if key not in fields]
    if missing:
        _refuse(f"an envelope must have the key {missing[0]}")
    return fields


def _require_target(fields: dict[str, Any], at: Place) -> None:
    if (fields["ws"], fields["id"]) != (at.workstation, at.appliance):
        target = f"{_shown(fields['ws'])} {_shown(fields['id'])}"
        _refuse(f"an envelope on this topic must be for {at.workstation} {at.appliance}, not for {target}")


def _require_signature(fields: dict[str, Any], at: Place, key: Ed25519PublicKey) -> None:
    try:
        signature = base64.b64decode(fields["sig"], validate=True)
        if base64.b64encode(signature).decode() != fields["sig"]:
            raise ValueError("its last character has bits that mean nothing")
        key.verify(signature, _signed(at, fields))
    except (TypeError, ValueError, binascii.Error, InvalidSignature) as error:
        raise EnvelopeRefused(f"sig must be the {at.leaf.writer}'s, and is not") from error


def _signed(at: Place, fields: dict[str, Any]) -> bytes:
    """What the signature covers."""
    rest = {key: value for key, value in fields.items() if key != "sig"}
    return f"vafw {at.leaf.name}\n".encode() + canonical(rest)


def _natural(fields: dict[str, Any], key: str) -> int:
    value = fields[key]
    if type(value) is not int or value < 1:
        _refuse(f"{key} must be an integer from 1 up, not {_shown(value)}")
    return value


def _trial(fields: dict[str, Any]) -> float | None:
    value = fields.get("trial")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value <= MAXIMUM_TRIAL_S:
        _refuse(f"trial must be seconds, above 0 and {MAXIMUM_TRIAL_S:g} at most, not {_shown(value)}")
    return float(value)


def _object(fields: dict[str, Any], key: str) -> dict[str, Any] | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, dict):
        _refuse(f"{key} must be an object, not {_shown(value)}")
    return value


def _moment(fields: dict[str, Any], key: str) -> datetime:
    value = fields[key]
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else _refuse(f"{key} must name its time zone, not {_shown(value)}")
    except (TypeError, ValueError, OverflowError) as error:
        raise EnvelopeRefused(f"{key} must be a date and time in UTC, not {_shown(value)}") from error


def stamp(moment: datetime) -> str:
    """A moment as envelopes write it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _depth(data: bytes) -> int:
    """An upper bound of how deep the text nests, without parsing it: brackets inside strings count too."""
    depth = deepest = 0
    for byte in data:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {_shown(twice)} stands there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that JSON has")


def _require_modest(value: object) -> None:
    """Refuse what other readers would read differently or not at all."""
    waiting: list[tuple[object, int]] = [(value, 1)]
    seen = 0
    while waiting:
        each, depth = waiting.pop()
        seen += 1
        if seen > MAXIMUM_VALUES:
            _refuse(f"a message must hold {MAXIMUM_VALUES} values at most")
        if depth > MAXIMUM_DEPTH:
            _refuse(f"a message must be nested {MAXIMUM_DEPTH} deep at most")
        if isinstance(each, float) and not math.isfinite(each):
            _refuse("a message must have finite numbers only")
        if isinstance(each, int) and abs(each) > MAXIMUM_INTEGER:
            _refuse(f"a message must have integers of 53 bits at most, not {_shown(each)}")
        if isinstance(each, str):
            _require_text(each)
        if isinstance(each, dict):
            waiting.extend((part, depth) for part in each)
            waiting.extend((part, depth + 1) for part in each.values())
        elif isinstance(each, list):
            waiting.extend((part, depth + 1) for part in each)


def _require_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise EnvelopeRefused("a message must have text without lone surrogates") from None


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse(message: str) -> NoReturn:
    raise EnvelopeRefused(message)
