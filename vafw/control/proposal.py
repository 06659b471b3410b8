"""A proposal: the file that goes from hand to hand until enough people have signed the statement in it.

    propose ─▶ change.json ─▶ sign ─▶ change.json ─▶ sign ─▶ change.json ─▶ apply

It holds both configurations besides, and the difference between them in lines for people. None of that is believed:
both must have the digests of the statement, and the difference is computed anew from them, so that what somebody is
shown before signing is what the signature is for. Whose signatures count is asked where it is applied.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

from vafw.control.approval import NAMESPACE, Approval, Kind, Statement
from vafw.control.envelope import digest_of, stamp, strict_json
from vafw.errors import InvalidDocument, Refused, UsageError
from vafw.openssh.signature import Signature
from vafw.trace import Value

MAXIMUM_BYTES: Final = 4 << 20
_KIND: Final = "config-proposal"
_FORMAT: Final = 1
_SHORT: Final = 90
"""Characters of a part that is shown whole."""


class ProposalInvalid(InvalidDocument):
    """A file that is no proposal, or was altered since it was made."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A statement, what it is about, and who signed it so far."""

    statement: Statement
    before: dict[str, Value]
    after: dict[str, Value]
    signatures: tuple[str, ...] = ()

    @classmethod
    def of_answer(cls, answer: dict[str, Any]) -> Proposal:
        """What a running machine proposes; ProposalInvalid where it contradicts itself."""
        return cls._of(answer["statement"], answer["before"], answer["after"], ())

    @classmethod
    def read(cls, data: bytes) -> Proposal:
        """The inverse of `text`; ProposalInvalid for anything else. Each signature in it is right."""
        try:
            fields = strict_json(data, most_bytes=MAXIMUM_BYTES)
        except Refused as error:
            raise ProposalInvalid(
                f"a proposal must be a file that vafw config propose wrote: {error.message}"
            ) from error
        keys = {"vafw", "kind", "statement", "difference", "signatures", "before", "after"}
        if set(fields) != keys or (fields["vafw"], fields["kind"]) != (_FORMAT, _KIND):
            _invalid("it has other keys, or is of another kind")
        found = cls._of(fields["statement"], fields["before"], fields["after"], fields["signatures"])
        if fields["difference"] != list(found.difference()):
            _invalid("the difference that it shows is not that of its two configurations")
        return found

    @classmethod
    def _of(cls, statement: Any, before: Any, after: Any, signatures: Any) -> Proposal:
        try:
            approval = Approval.from_json({"statement": statement, "signatures": signatures})
            found = cls(approval.statement, before, after, approval.signatures)
            for each in found.signatures:
                Signature.parse(each).verify(found.statement.data, NAMESPACE)
            digests = digest_of(before), digest_of(after)
        except Refused as error:
            _invalid(error.message)
        except (TypeError, ValueError) as error:
            _invalid(str(error))
        if digests != (found.statement.before, found.statement.after):
            _invalid("its configurations are not those that its statement is about")
        return found

    @property
    def text(self) -> str:
        """The file, for people to read too."""
        fields: dict[str, Value] = {
            "vafw": _FORMAT,
            "kind": _KIND,
            "statement": self.statement.to_json(),
            "difference": list(self.difference()),
            "signatures": list(self.signatures),
            "before": self.before,
            "after": self.after,
        }
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"

    @property
    def approval(self) -> Approval:
        """What is sent to be applied."""
        return Approval(self.statement, self.signatures)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the keys that signed so far."""
        return tuple(Signature.parse(each).key.fingerprint for each in self.signatures)

    def signed(self, signature: Signature) -> Proposal:
        """With one more signature; Refused where it is of something else, UsageError where its key signed already."""
        signature.verify(self.statement.data, NAMESPACE)
        if signature.key.fingerprint in self.fingerprints:
            raise UsageError(f"each key must sign once, and {signature.key.fingerprint} has signed already")
        return replace(self, signatures=(*self.signatures, str(signature)))

    def difference(self) -> Iterator[str]:
        """What the change does to the configuration, in lines; none where nothing changes."""
        if self.before == self.after:
            return
        before, after = list(_leaves(self.before, "")), list(_leaves(self.after, ""))
        if before == after:  # a key may be written as a path
            before, after = [json.dumps(self.before, sort_keys=True)], [json.dumps(self.after, sort_keys=True)]
        compared = difflib.unified_diff(before, after, n=0, lineterm="")
        yield from (f"{line[0]} {line[1:]}" for at, line in enumerate(compared) if at >= 2 and line[0] != "@")

    def shown(self) -> Iterator[str]:
        """What somebody has to know before signing."""
        asked = self.statement
        what = "stays" if asked.kind is Kind.CONFIRM else f"is followed by {asked.leads_to}"
        trial = f", on trial for {asked.trial_s:g} s" if asked.trial_s is not None else ""
        yield f"{asked.kind} of {asked.appliance} on {asked.workstation}: generation {asked.base} {what}{trial}"
        yield from (f"  {_plain(each)}" for each in asked.changes)
        if asked.to is not None:
            yield f"  back to {asked.to}"
        yield f"to be applied before {stamp(asked.expires)}"
        yield from self.difference()
        if self.before == self.after:
            yield "the configuration stays as it is"


def _leaves(value: Value, path: str) -> Iterator[str]:
    """A configuration, one line for each part that fits into one; entries of lists by name where there is one."""
    text = json.dumps(value, sort_keys=True)
    if not isinstance(value, dict | list) or len(text) <= _SHORT:
        yield f"{path or 'everything'}: {text}"
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from _leaves(value[key], f"{path}.{_plain(key)}" if path else _plain(key))
    else:
        for at, each in enumerate(value):
            yield from _leaves(each, f"{path}[{_entry(at, each)}]")


def _entry(at: int, each: Value) -> str:
    """How an entry of a list is called; single values go without a number, so that one more does not shift the rest."""
    if isinstance(each, dict):
        name = each.get("name")
        return _plain(name) if isinstance(name, str) else str(at)
    return str(at) if isinstance(each, list) else ""


def _plain(text: str) -> str:
    """Text that a terminal shows as what it is."""
    return text if text.isascii() and text.isprintable() else json.dumps(text)


def _invalid(what: str) -> NoReturn:
    raise ProposalInvalid(f"a proposal must be as vafw config propose wrote it: {what}", hint="propose it anew")
