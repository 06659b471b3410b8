"""What the VMM tells of what it did: values that whoever drives it turns into trace events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from vafw.trace import EventKind, Value


@dataclass(frozen=True, slots=True)
class VmmRecord:
    """One thing that happened to one VM, device or link."""

    kind: EventKind
    subject: str
    detail: Mapping[str, Value]


@final
class Journal:
    """Records in order, until they are taken."""

    def __init__(self) -> None:
        self._records: list[VmmRecord] = []

    def write(self, kind: EventKind, subject: str, **detail: Value) -> None:
        """Append one record."""
        self._records.append(VmmRecord(kind, subject, detail))

    def take(self) -> tuple[VmmRecord, ...]:
        """Everything since the last call."""
        taken = tuple(self._records)
        self._records.clear()
        return taken
