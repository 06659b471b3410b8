"""Agents that run inside their guests: what each is given at a boot, and what it says that it runs.

At the first boot a guest is given what was committed and put in force. At a later one it is given the highest
generation that its agent has reported to run, as the ledger has it: what the guest says chooses among what was
committed, and signed where people must, never below what it was given before, and is believed no further. What was
committed since comes over the bus.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

from vafw.control.access import Access
from vafw.control.agent import Identity, Outcome, Report, Running, Spent
from vafw.control.entry import Entry
from vafw.control.ledger import Ledger
from vafw.control.start import Start
from vafw.machine.mandate import Mandate


@final
class GuestAgent:
    """The agent of one guest, over all its boots."""

    def __init__(
        self, identity: Identity, access: Access, began_with: Entry, *, ledger: Ledger, broker: tuple[str, int]
    ) -> None:
        """`broker` is the address, on this host, that it is led to."""
        running = Running(began_with.version, began_with.digest, began_with.body)
        self._start = Start(identity, access, running)
        self._version, self._given = began_with.version, began_with.digest
        self._charter = identity.charter
        self._ledger = ledger
        self._broker = broker

    def heard(self, report: Report) -> None:
        """Take note of what it says that it runs; what is on trial is not for the next boot, nor to be tried there."""
        if report.outcome is Outcome.ON_TRIAL and report.asked is not None:
            self._start = replace(self._start, spent=Spent(report.asked, "it was started anew before it was confirmed"))
            return
        if report.outcome in (Outcome.APPLIED, Outcome.CONFIRMED):
            self._start = replace(self._start, spent=None)
        if report.running is not None and report.running > self._version:
            self._version = report.running

    async def mandate(self) -> Mandate:
        """For the boot that is about to be."""
        for entry in await self._ledger.history(self._start.identity.appliance):
            if entry.version == self._version and not entry.refusal(self._charter, self._given):
                self._start = replace(self._start, running=Running(entry.version, entry.digest, entry.body))
        return Mandate(self._start.running.config, self._broker, self._start.to_json())
