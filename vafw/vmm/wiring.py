"""Which port is wired to which, and what a doorbell does; only the VMM wires, no guest can ask for it."""

from __future__ import annotations

from typing import Final, final

from vafw.errors import NoSuchObject
from vafw.trace import EventKind
from vafw.vmm.link import Direction, Link, PortFault, discard
from vafw.vmm.port import LinkPort
from vafw.vmm.record import Journal
from vafw.vmm.refusal import VmmError

NOBODY: Final[tuple[LinkPort, ...]] = ()


@final
class Wiring:
    """Every link of the machine."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._links: dict[str, Link] = {}
        self._of: dict[LinkPort, Link] = {}
        self.lost: dict[str, int] = {}
        """Frames dropped because they were sent into a port without a link, by port."""

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that are wired, in the order of wiring."""
        return tuple(self._links.values())

    def link(self, name: str) -> Link:
        """The link of that name; NoSuchObject where there is none."""
        if name not in self._links:
            raise NoSuchObject(f"a link must be one of {', '.join(self._links) or '(none)'}, not {name!r}")
        return self._links[name]

    def wire(self, name: str, outer: LinkPort, inner: LinkPort) -> Link:
        """Join two ports; VmmError where the name or a port is taken."""
        if name in self._links:
            raise VmmError(f"link {name!r} must be wired once")
        for port in (outer, inner):
            if port in self._of:
                raise VmmError(f"port {port} must be on one link, but it is on {self._of[port].name!r}")
        if outer.vm == inner.vm:
            raise VmmError(f"link {name!r} must join two VMs, not {outer} with {inner}")
        link = self._links[name] = self._of[outer] = self._of[inner] = Link(name, outer, inner)
        self._journal.write(EventKind.LINK_UP, name, outer=str(outer), inner=str(inner))
        return link

    def unwire(self, name: str) -> tuple[LinkPort, ...]:
        """Part them; frames still waiting in either sender's ring are dropped and counted.

        Returns the ports whose guests must be interrupted: there is room in a ring again.
        """
        link = self.link(name)
        del self._links[name]
        relieved = []
        for direction in (link.inwards, link.outwards):
            del self._of[direction.sender]
            dropped = self._discard(direction.sender)
            direction.counters.undelivered += dropped
            relieved += [direction.sender] if dropped else []
        self._journal.write(
            EventKind.LINK_DOWN,
            name,
            frames_in=link.inwards.counters.frames,
            frames_out=link.outwards.counters.frames,
            undelivered=link.inwards.counters.undelivered + link.outwards.counters.undelivered,
        )
        return tuple(relieved)

    def unwire_vm(self, vm: str) -> tuple[LinkPort, ...]:
        """Part every link of a VM; returns as `unwire`."""
        own = [link.name for link in self.links if vm in (link.outer.vm, link.inner.vm)]
        return tuple(port for name in own for port in self.unwire(name))

    def doorbell(self, port: LinkPort) -> tuple[LinkPort, ...]:
        """A guest says that a ring of its port has changed; returns the ports whose guests must be interrupted.

        PortFault is journalled, not raised: the guilty port is shut and the other end never notices.
        """
        link = self._of.get(port)
        if link is None:
            if dropped := self._discard(port):
                self.lost[str(port)] = self.lost.get(str(port), 0) + dropped
            return NOBODY
        leaving, arriving = link.from_port(port)
        interrupted = (*self._move(leaving, port), *self._move(arriving, port))
        return tuple(dict.fromkeys(interrupted)) if len(interrupted) > 1 else interrupted

    def _move(self, direction: Direction, rung_by: LinkPort) -> tuple[LinkPort, ...]:
        """Who must hear of it: a receiver that got frames, a sender that had been told to wait by a full peer."""
        was_stalled = direction.stalled
        before = direction.counters.frames
        try:
            direction.move()
        except PortFault as fault:
            self._journal.write(EventKind.LINK_DOWN, str(fault.port), why=fault.message)
        if direction.counters.frames == before:
            return NOBODY
        if was_stalled and direction.sender is not rung_by:
            return direction.receiver, direction.sender
        return (direction.receiver,)

    def _discard(self, port: LinkPort) -> int:
        try:
            return discard(port)
        except PortFault as fault:
            self._journal.write(EventKind.LINK_DOWN, str(fault.port), why=fault.message)
            return 0
