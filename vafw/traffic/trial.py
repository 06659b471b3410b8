"""New rules on trial: in force at once, and gone again by themselves unless they are confirmed in time.

    TRYING ──confirm, healthy──▶ CONFIRMED
       ├──unhealthy──▶ ROLLED_BACK
       └──deadline──▶ ROLLED_BACK              both ends are final

Pure: the time and what a health probe found come in, and what is in force can be read. Whoever owns the rules (the
firewall's program, an agent with ``nft``) asks `in_force` after each event and carries it out; `Change` has the two
texts for a kernel. A confirmation that comes too late, or while the probe fails, is no confirmation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar, final

from vafw.traffic.nftables.table import Table

Rules = TypeVar("Rules")


class Phase(StrEnum):
    """Where a trial stands."""

    TRYING = "trying"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled back"


class Event(StrEnum):
    """What can happen to a trial."""

    CONFIRM = "confirm"
    UNHEALTHY = "unhealthy"
    DEADLINE = "deadline"


TRANSITIONS: Final = {
    (Phase.TRYING, Event.CONFIRM): Phase.CONFIRMED,
    (Phase.TRYING, Event.UNHEALTHY): Phase.ROLLED_BACK,
    (Phase.TRYING, Event.DEADLINE): Phase.ROLLED_BACK,
}
"""Next phase; in the two others nothing happens any more."""


@final
class Trial(Generic[Rules]):
    """One change of rules, from the moment in which the new ones come into force."""

    def __init__(self, old: Rules, new: Rules, *, now_s: float, patience_s: float) -> None:
        """`patience_s`: how long the new rules stay in force without a confirmation; more than nothing."""
        if patience_s <= 0:
            raise ValueError(f"patience must be more than nothing, not {patience_s} s")
        self._old, self._new = old, new
        self._patience_s = patience_s
        self.deadline_s = now_s + patience_s
        self.phase = Phase.TRYING
        self.reason = ""
        """Why it was rolled back, as a clause."""

    @property
    def in_force(self) -> Rules:
        """The rules to carry out now."""
        return self._old if self.phase is Phase.ROLLED_BACK else self._new

    def probed(self, *, healthy: bool, finding: str, now_s: float) -> Phase:
        """Take what a health probe of the new rules found."""
        self.passed(now_s)
        return self.phase if healthy else self._happens(Event.UNHEALTHY, finding)

    def confirm(self, now_s: float) -> Phase:
        """Keep the new rules, if it is not too late."""
        self.passed(now_s)
        return self._happens(Event.CONFIRM, "")

    def passed(self, now_s: float) -> Phase:
        """Time has come to `now_s`."""
        late = f"no confirmation came within {self._patience_s:g} s"
        return self._happens(Event.DEADLINE, late) if now_s >= self.deadline_s else self.phase

    def _happens(self, event: Event, reason: str) -> Phase:
        following = TRANSITIONS.get((self.phase, event), self.phase)
        if following is not self.phase and following is Phase.ROLLED_BACK:
            self.reason = reason
        self.phase = following
        return following


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a kernel's rules and the way back, each one transaction of ``nft -f``."""

    forward: str
    back: str

    @classmethod
    def between(cls, old: Table, new: Table) -> Change:
        """Both texts, as edits."""
        return cls(new.edit_from(old), old.edit_from(new))
