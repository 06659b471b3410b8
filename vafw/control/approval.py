"""What people sign before an appliance takes another configuration, and whether what they signed allows it.

    Statement   one change of one appliance of one installation, made against one generation
    Approval    a statement, and the SSHSIG signatures of people under its canonical JSON

A statement names what it leads to by digest, so that nobody need believe who compiled it; the generation it was made
against, so that it leads there once; and the controller's key, which is made anew with each installation's state, so
that a machine of the same name is another one. Controller and agent ask the same functions here. The controller's
signature on the envelope says where a message comes from; whether it may be is said by people.

At rest, in the ledger, an approval does not expire: what was accepted in time stays accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vafw.control.envelope import MAXIMUM_SKEW, MAXIMUM_TRIAL_S, Envelope, Version, canonical, stamp
from vafw.control.topics import TopicInvalid, require_name
from vafw.errors import Refused
from vafw.machine.authority import MOST_SIGNATURES, Authority
from vafw.openssh.signature import Signature
from vafw.trace import Value

NAMESPACE: Final = "vafw-config"
"""What ssh-keygen is told with ``-n``, so that no other signature of a person passes for one of these."""
MAXIMUM_STATEMENT_BYTES: Final = 32 << 10
_FORMAT: Final = 1
_KEYS: Final = {
    "v", "kind", "workstation", "appliance", "controller", "base", "before", "after", "changes", "to", "trial-s",
    "expires",
}  # fmt: skip


class NotApproved(Refused):
    """A change that people did not sign, or did sign and not for this."""


class Kind(StrEnum):
    """What a statement asks for."""

    SET = "set"
    PUSH = "push"
    ROLLBACK = "rollback"
    CONFIRM = "confirm"
    """That what is on trial stays."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One change, as people sign it."""

    kind: Kind
    workstation: str
    appliance: str
    controller: str
    """The digest of the controller's public key: which installation."""
    base: Version
    """The generation that it was made against; of a confirmation, the one on trial."""
    before: str
    """The digest of the configuration of `base`."""
    after: str
    """The digest of the configuration that it leads to."""
    changes: tuple[str, ...]
    """The assignments of a set, as they were written."""
    to: Version | None
    """The generation that a rollback goes back to."""
    trial_s: float | None
    expires: datetime

    @property
    def leads_to(self) -> Version:
        """The only generation that it allows."""
        return self.base if self.kind is Kind.CONFIRM else Version(self.base.epoch, self.base.generation + 1)

    @property
    def data(self) -> bytes:
        """The bytes that are signed."""
        return canonical(self.to_json())

    @property
    def subject(self) -> str:
        """What it is, inside a sentence."""
        verb = "a confirmation of" if self.kind is Kind.CONFIRM else "a change to"
        return f"{verb} generation {self.leads_to} of {self.appliance}"

    def to_json(self) -> dict[str, Value]:
        """Its fields."""
        return {
            "v": _FORMAT,
            "kind": self.kind.value,
            "workstation": self.workstation,
            "appliance": self.appliance,
            "controller": self.controller,
            "base": self.base.to_json(),
            "before": self.before,
            "after": self.after,
            "changes": list(self.changes),
            "to": self.to.to_json() if self.to else None,
            "trial-s": self.trial_s,
            "expires": stamp(self.expires),
        }

    @classmethod
    def from_json(cls, fields: object) -> Statement:
        """The inverse of `to_json`; NotApproved for anything that is not exactly a statement."""
        if not isinstance(fields, dict) or set(fields) != _KEYS or fields["v"] != _FORMAT:
            _refuse(f"a statement must have the keys {', '.join(sorted(_KEYS))} and v {_FORMAT}, and no others")
        try:
            made = cls(
                kind=Kind(fields["kind"]),
                workstation=_name(fields, "workstation"),
                appliance=_name(fields, "appliance"),
                controller=_text(fields, "controller"),
                base=Version.from_json(fields["base"]),
                before=_text(fields, "before"),
                after=_text(fields, "after"),
                changes=_texts(fields["changes"]),
                to=None if fields["to"] is None else Version.from_json(fields["to"]),
                trial_s=_trial(fields["trial-s"]),
                expires=datetime.fromisoformat(_text(fields, "expires")),
            )
            well_written = made.to_json() == fields and len(made.data) <= MAXIMUM_STATEMENT_BYTES
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise NotApproved(f"a statement must have values of the right form: {error}") from error
        if not well_written:
            _refuse(f"a statement must be written in one way, with {MAXIMUM_STATEMENT_BYTES} bytes at most")
        return made

    def require_fresh(self, now: datetime, tolerance: timedelta = timedelta(0)) -> None:
        """NotApproved where it has expired; a guest's clock may be wrong by `tolerance`."""
        if self.expires <= now - tolerance:
            _refuse(f"{self.subject} must be made before {stamp(self.expires)}, and it is {stamp(now)}; sign it anew")

    def require_of(self, workstation: str, appliance: str, controller: str) -> None:
        """NotApproved where it is of another appliance, another machine or another installation."""
        if (self.workstation, self.appliance) != (workstation, appliance):
            _refuse(
                f"what was signed must be for {workstation} {appliance}, not for {self.workstation} {self.appliance}"
            )
        if self.controller != controller:
            _refuse(f"what was signed must be for this installation of {workstation}, and is for another one")


@dataclass(frozen=True, slots=True)
class Approval:
    """A statement with its signatures."""

    statement: Statement
    signatures: tuple[str, ...]

    @classmethod
    def from_json(cls, fields: object) -> Approval:
        """The inverse of `to_json`; NotApproved for anything else."""
        if not isinstance(fields, dict) or set(fields) != {"statement", "signatures"}:
            _refuse("an approval must have a statement and signatures, and nothing else")
        try:
            signatures = _texts(fields["signatures"])
        except TypeError as error:
            raise NotApproved("an approval must have a list of signatures") from error
        if len(signatures) > MOST_SIGNATURES:
            _refuse(f"an approval must have {MOST_SIGNATURES} signatures at most, not {len(signatures)}")
        return cls(Statement.from_json(fields["statement"]), signatures)

    def to_json(self) -> dict[str, Value]:
        """Its fields."""
        return {"statement": self.statement.to_json(), "signatures": list(self.signatures)}

    def signers(self, authority: Authority, known: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Who signed, if each signature is right and they are enough; a subclass of Refused says what is wrong."""
        keys = []
        for text in self.signatures:
            signature = Signature.parse(text)
            signature.verify(self.statement.data, NAMESPACE)
            keys.append(str(signature.key))
        return authority.signers(keys, self.statement.subject, known)


@dataclass(frozen=True, slots=True)
class Charter:
    """What an approval is held against, at whatever end: one appliance of one installation."""

    workstation: str
    appliance: str
    controller: Ed25519PublicKey
    authority: Authority

    def refusal(self, envelope: Envelope, now: datetime) -> str:
        """Why people have not allowed a generation that is new to an agent; empty where they have, in time."""
        try:
            approval, confirmation = _unpacked(envelope.approval), _unpacked(envelope.confirmation)
            trial_s = envelope.trial_s
            self.admit_change(approval, envelope.version, envelope.digest, confirmation=confirmation, trial_s=trial_s)
            for each in (approval, confirmation):
                if each is not None:
                    each.statement.require_fresh(now, MAXIMUM_SKEW)
        except Refused as refusal:
            return refusal.message
        return ""

    def refusal_to_stay(self, envelope: Envelope, now: datetime) -> str:
        """Why people have not allowed what an agent has on trial to stay; empty where they have, in time."""
        try:
            confirmation = _unpacked(envelope.confirmation)
            self.admit_confirmation(confirmation, envelope.version, envelope.digest)
            if confirmation is not None:
                confirmation.statement.require_fresh(now, MAXIMUM_SKEW)
        except Refused as refusal:
            return refusal.message
        return ""

    def admit_change(
        self,
        approval: Approval | None,
        version: Version,
        digest: str,
        *,
        confirmation: Approval | None,
        trial_s: float | None,
    ) -> None:
        """Return where people allow generation `version` to be what `digest` says, on trial for `trial_s`, or for good.

        What was signed to be on trial may be for good only where its confirmation was signed too. Raises Refused.
        """
        if approval is None:
            self.authority.signers((), f"a change to generation {version} of {self.appliance}")
            _refuse(f"a change to generation {version} of {self.appliance} must be signed")
        statement = approval.statement
        self._require_own(approval)
        if statement.kind is Kind.CONFIRM:
            _refuse(f"a change to generation {version} must be signed as one, not as a confirmation")
        if (statement.leads_to, statement.after) != (version, digest):
            _refuse(
                f"what was signed leads to generation {statement.leads_to} with {statement.after}, not to {version} "
                f"with {digest}"
            )
        if statement.trial_s is not None and trial_s is None:
            self.admit_confirmation(confirmation, version, digest)
        elif statement.trial_s != trial_s:
            _refuse(f"what was signed is {_tried(statement.trial_s)}, not {_tried(trial_s)}")

    def admit_confirmation(self, approval: Approval | None, version: Version, digest: str) -> None:
        """Return where people allow generation `version`, which is on trial, to stay; raises Refused."""
        if approval is None:
            self.authority.signers((), f"a confirmation of generation {version} of {self.appliance}")
            _refuse(f"a confirmation of generation {version} of {self.appliance} must be signed")
        statement = approval.statement
        self._require_own(approval)
        if (statement.kind, statement.leads_to, statement.after) != (Kind.CONFIRM, version, digest):
            _refuse(f"what was signed must confirm generation {version} with {digest}, and is {statement.subject}")

    def admit_kept(
        self, version: Version, digest: str, approval: Approval | None, confirmation: Approval | None
    ) -> None:
        """Return where people once allowed what a ledger holds as `version`, for good; raises Refused.

        A generation that follows one that went back, or begins an epoch, carries what an earlier one was allowed by.
        """
        if approval is not None and approval.statement.leads_to > version:
            _refuse(f"what was signed leads to generation {approval.statement.leads_to}, which is later than {version}")
        allowed = approval.statement.leads_to if approval is not None else version
        self.admit_change(approval, allowed, digest, confirmation=confirmation, trial_s=None)

    def _require_own(self, approval: Approval) -> None:
        approval.statement.require_of(self.workstation, self.appliance, controller_of(self.controller))
        approval.signers(self.authority)


def _unpacked(fields: Mapping[str, Value] | None) -> Approval | None:
    return None if fields is None else Approval.from_json(fields)


def controller_of(key: Ed25519PublicKey) -> str:
    """A controller's key as statements name it."""
    return f"sha256:{hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()}"


def _tried(trial_s: float | None) -> str:
    return "for good" if trial_s is None else f"on trial for {trial_s:g} s"


def _text(fields: Mapping[str, Any], key: str) -> str:
    if not isinstance(fields[key], str):
        raise TypeError(f"{key} must be text")
    return str(fields[key])


def _name(fields: Mapping[str, Any], key: str) -> str:
    try:
        return require_name(_text(fields, key), f"a {key}")
    except TopicInvalid as error:
        raise ValueError(error.message) from error


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise TypeError("it must be a list of text")
    return tuple(value)


def _trial(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAXIMUM_TRIAL_S:
        raise ValueError(f"a trial must last more than nothing and {MAXIMUM_TRIAL_S:g} s at most")
    return float(value)


def _refuse(message: str) -> NoReturn:
    raise NotApproved(message)
