"""A log as it is shown: its kind, its entries in order, what each says, and which lies it tells.

Not what a verifier decides by: `vafw.attest.log` appraises the log of a launch, and takes nothing from a description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vafw.tcg.algorithms import SHA256, algorithm_name
from vafw.tcg.eventlog import Event
from vafw.tcg.replay import replay
from vafw.trace import Value


class LogKind(StrEnum):
    """Who wrote it, and in which form."""

    FIRMWARE = "firmware"
    """Crypto-agile, as UEFI firmware and everything after it writes (SRTM)."""
    LAUNCH = "launch"
    """Crypto-agile, of a dynamic launch (DRTM)."""
    OLD_FIRMWARE = "old-firmware"
    """SHA-1 only, the form of TPM 1.2."""
    IMA = "ima"
    """The kernel's list of measured files."""


@dataclass(frozen=True, slots=True)
class Description:
    """What the data of one event says."""

    summary: str = ""
    """One line."""
    fields: Mapping[str, Value] = field(default_factory=dict)
    """Every part of it, decoded."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a log."""

    position: int
    """From 1; the header of a crypto-agile log is record 0."""
    name: str
    """Its type, for instance ``EV_SEPARATOR``, or the template of an IMA entry."""
    event: Event
    description: Description
    lies: tuple[str, ...] = ()
    """Sentences about what cannot be as the event has it."""

    def to_json(self) -> dict[str, Value]:
        """The entry as a JSON object."""
        members: dict[str, Value] = {
            "number": self.position,
            "pcr": self.event.pcr,
            "type": self.name,
            "digests": {algorithm_name(bank): value.hex() for bank, value in self.event.digests.items()},
            "says": self.description.summary,
        }
        if self.description.fields:
            members["fields"] = dict(self.description.fields)
        if self.lies:
            members["lies"] = list(self.lies)
        return members


@dataclass(frozen=True, slots=True)
class MeasuredLog:
    """A whole log."""

    kind: LogKind
    entries: tuple[Entry, ...]
    algorithms: tuple[int, ...]
    notes: tuple[str, ...] = ()
    """What a reader should know of the log as a whole."""

    def replayed(self) -> dict[int, dict[int, bytes]]:
        """The PCR values that a TPM must hold if the log tells everything, by bank and index."""
        return replay(entry.event for entry in self.entries)

    @property
    def lies(self) -> tuple[tuple[Entry, str], ...]:
        """Every lie with the entry that tells it."""
        return tuple((entry, lie) for entry in self.entries for lie in entry.lies)

    def to_json(self) -> dict[str, Value]:
        """The log as a JSON object."""
        return {
            "kind": self.kind.value,
            "algorithms": [algorithm_name(each) for each in self.algorithms],
            "notes": list(self.notes),
            "entries": [entry.to_json() for entry in self.entries],
            "replayed": {
                algorithm_name(bank): {str(pcr): value.hex() for pcr, value in sorted(values.items())}
                for bank, values in sorted(self.replayed().items(), key=lambda each: each[0] != SHA256)
            },
        }
