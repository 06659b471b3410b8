"""The bridge inside a network card with virtual functions: which of them a frame goes to, and which the wire.

A frame to the address of a function goes to that function and nowhere else, one to a group goes to all and to the wire,
anything else from inside goes to the wire. So two virtual functions reach each other without the wire and without
whatever stands behind it: who assigns them to different VMs has joined these VMs. A function that sends under another
address than its own is stopped (MAC anti-spoofing). IEEE 802.1Q, "Edge Virtual Bridging".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

_MAC = 6
_GROUP = 1


class Member(Protocol):
    """A function on the bridge."""

    mac: bytes

    def deliver(self, frame: bytes) -> bool:
        """Take a frame from the bridge; False where it is lost."""
        ...


@final
class EmbeddedSwitch:
    """The bridge; the physical function is its first member and takes what nobody else is meant by."""

    def __init__(self, physical: Member) -> None:
        self.spoofed = 0
        """Frames stopped because their source was not the sender's address."""
        self._physical = physical
        self._virtual: tuple[Member, ...] = ()

    def join(self, virtual: Sequence[Member]) -> None:
        """The virtual functions there are from now on."""
        self._virtual = tuple(virtual)

    def from_wire(self, frame: bytes) -> bool:
        """A frame arrives; False where nobody took it."""
        if frame[0] & _GROUP:
            taken = [each.deliver(frame) for each in (self._physical, *self._virtual)]
            return any(taken)
        return (self._owner(frame) or self._physical).deliver(frame)

    def from_function(self, sender: Member, frame: bytes) -> bool:
        """A function sends a frame; True where it is for the wire too."""
        if sender is not self._physical and frame[_MAC : 2 * _MAC] != sender.mac:
            self.spoofed += 1
            return False
        if frame[0] & _GROUP:
            for each in (self._physical, *self._virtual):
                if each is not sender:
                    each.deliver(frame)
            return True
        owner = self._owner(frame)
        if owner is None:
            return True
        owner.deliver(frame)
        return False

    def _owner(self, frame: bytes) -> Member | None:
        """Whose address a frame is for."""
        return next((each for each in (self._physical, *self._virtual) if frame[:_MAC] == each.mac), None)
