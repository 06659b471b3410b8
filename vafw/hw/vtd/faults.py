"""Fault recording: the registers in which the unit remembers blocked requests (VT-d, "Primary Fault Logging").

A blocked request is always answered with a fault value; whether it is also *recorded* is another question, decided
here: an overflow that software has not cleared stops recording, a requester with a pending record is compressed into
it, and an entry with FPD set keeps quiet. So software must never count faults by records. The hard part is that
clearing a record's F clears FSTS.PPF but not PFO, and that only the step of PPF from 0 to 1 raises the fault event.
"""

from __future__ import annotations

from typing import final

from vafw.hw.vtd.blocked_request import AddressType
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.registers import (
    FaultEventAddress,
    FaultEventControl,
    FaultEventData,
    FaultEventUpperAddress,
    FaultRecording,
    FaultStatus,
)


@final
class FaultLog:
    """FSTS, the FRCD registers and the fault event."""

    def __init__(self, records: int) -> None:
        """`records` is CAP.NFR + 1."""
        self.status = FaultStatus()
        self.control = FaultEventControl()
        self.data = FaultEventData()
        self.address = FaultEventAddress()
        self.upper_address = FaultEventUpperAddress()
        self.recordings = tuple(FaultRecording() for _ in range(records))
        self._next = 0
        self._messages: list[tuple[int, int]] = []

    def record(
        self,
        source_id: int,
        information: int,
        reason: FaultReason,
        *,
        read: bool,
        address_type: AddressType = AddressType.UNTRANSLATED,
    ) -> None:
        """Remember one blocked request, unless the log is full or the requester has a pending record."""
        if self.status.PFO or any(each.F and source_id == each.SID for each in self.recordings):
            return
        recording = self.recordings[self._next]
        if recording.F:
            self.status.hw_set(PFO=1)
            return
        recording.hw_set(FI=information >> 12, SID=source_id, FR=reason, AT=address_type, T=int(read), F=1)
        if not self.status.PPF:
            self.status.hw_set(PPF=1, FRI=self._next)
            self._raise_event()
        self._next = (self._next + 1) % len(self.recordings)

    def note_queue_error(self) -> None:
        """FSTS.IQE: a descriptor that cannot be executed; raises the fault event."""
        if not self.status.IQE:
            self.status.hw_set(IQE=1)
            self._raise_event()

    def note_device_timeout(self) -> None:
        """FSTS.ITE: a device did not say in time that it has invalidated; raises the fault event."""
        if not self.status.ITE:
            self.status.hw_set(ITE=1)
            self._raise_event()

    def restart(self) -> None:
        """Record into the first register next, as after translation was disabled."""
        self._next = 0

    def written(self) -> None:
        """Software wrote one of the registers: work out what follows from the others."""
        pending = any(each.F for each in self.recordings)
        self.status.hw_set(PPF=int(pending))
        if not (pending or self.status.PFO or self.status.IQE or self.status.ITE or self.status.ICE):
            self.control.hw_set(IP=0)
        if self.control.IP and not self.control.IM:
            self._send()

    def take_messages(self) -> tuple[tuple[int, int], ...]:
        """The fault-event messages (address, data) sent since the last call."""
        taken = tuple(self._messages)
        self._messages.clear()
        return taken

    def _raise_event(self) -> None:
        self.control.hw_set(IP=1)
        if not self.control.IM:
            self._send()

    def _send(self) -> None:
        self.control.hw_set(IP=0)
        self._messages.append((self.upper_address.value << 32 | self.address.value, self.data.IMD))
