"""Several ways to the wire in a guest: the routes that the marks of `vafw.traffic.nftables.uplinks` stand for.

    rule 100   main, without default routes    a network of its own is reached by its own card
    rule 202   mark 2: table 102               while the second uplink is up; 203 for the third, and so on
    main       the default route               by the first uplink that is up, else by the first of them all

`WaysOut` is pure: which uplinks are up goes in, words for busybox's ``ip`` come out, only of what has changed. `Watch`
asks the next hops from packet sockets, as the kernel's own neighbour table asks only when there is something to send.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, final

from vafw.provider.qemu.guest import packets
from vafw.provider.qemu.guest.packets import Listen
from vafw.trace import Value
from vafw.traffic.appliance import uplink_port
from vafw.traffic.frame import ARP, Frame, parse, transport_checksum_holds
from vafw.traffic.nftables.uplinks import uplink_mark
from vafw.traffic.routed import Host, Link, Links, question, said_of
from vafw.traffic.uplinks import ASK_EVERY_S, Uplinks

Words: TypeAlias = tuple[str, ...]

VERSIONS: Final = (4, 6)
_OWN_NETWORKS: Final = 100
_MARKED: Final = 200
_TABLE: Final = 100
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class _Ways:
    """What decides on where packets go that are for no network of the router's own."""

    defaults: tuple[tuple[int, int], ...] = ()
    """By IP version, the uplink that takes what has no mark."""
    marked: tuple[tuple[int, int], ...] = ()
    """IP version and number of each uplink that takes what has its mark."""


@final
class WaysOut:
    """The routes of one router."""

    def __init__(self, links: Links) -> None:
        self._uplinks = links.uplinks
        self._ways = _Ways()

    def begin(self) -> Iterator[Words]:
        """What never changes, and then all that is so while every uplink is up."""
        for version in VERSIONS:
            pref = str(_OWN_NETWORKS)
            yield (f"-{version}", "rule", "add", "pref", pref, "lookup", "main", "suppress_prefixlength", "0")
        for number in range(1, len(self._uplinks)):
            for version in self._versions(number):
                yield self._route("add", number, version, "table", _table(number))
        yield from self.change(lambda _number: True)

    def change(self, is_up: Callable[[int], bool]) -> Iterator[Words]:
        """What leads from the ways as they are to those that there should be now."""
        before, self._ways = self._ways, self._wanted(is_up)
        for version, number in self._ways.defaults:
            if (version, number) not in before.defaults:
                yield self._route("replace", number, version)
        for version, number in self._ways.marked:
            if (version, number) not in before.marked:
                mark = f"{uplink_mark(number):#x}"
                yield (f"-{version}", "rule", "add", "pref", _pref(number), "fwmark", mark, "lookup", _table(number))
        for version, number in before.marked:
            if (version, number) not in self._ways.marked:
                yield (f"-{version}", "rule", "del", "pref", _pref(number))

    def _wanted(self, is_up: Callable[[int], bool]) -> _Ways:
        defaults, marked = [], []
        for version in VERSIONS:
            leading = [number for number in range(len(self._uplinks)) if version in self._versions(number)]
            up = [number for number in leading if is_up(number)]
            defaults += [(version, number) for number in (up or leading)[:1]]
            marked += [(version, number) for number in up if number]
        return _Ways(tuple(defaults), tuple(marked))

    def _versions(self, number: int) -> tuple[int, ...]:
        return tuple(dict.fromkeys(version for version, _ in self._uplinks[number].gateways))

    def _route(self, do: str, number: int, version: int, *more: str) -> Words:
        address = next(address for of, address in self._uplinks[number].gateways if of == version)
        gateway = str((IPv4Address if version == 4 else IPv6Address)(address))
        return (f"-{version}", "route", do, "default", "via", gateway, "dev", uplink_port(number), *more)


def _table(number: int) -> str:
    return str(_TABLE + uplink_mark(number))


def _pref(number: int) -> str:
    return str(_MARKED + uplink_mark(number))


@final
class Watch:
    """Asks every next hop once a second, and tells which uplinks came and went."""

    def __init__(self, links: Sequence[Link], listen: Listen, changed: Callable[[tuple[int, ...], str], None]) -> None:
        """`changed` is told which uplinks went down, none where one came up, and what to say of it."""
        self._links = links
        self._state = Uplinks(links)
        self._changed = changed
        self._sockets = [packets.open_filtered(uplink_port(at), packets.NEIGHBOURS) for at in range(len(links))]
        self._due_s = time.monotonic()
        self._state.begin(self._due_s)
        for number, its_socket in enumerate(self._sockets):
            listen(its_socket, lambda number=number: self._hear(number))  # type: ignore[misc]  # the default binds it

    def is_up(self, number: int) -> bool:
        """Whether an uplink is up."""
        return self._state.is_up(number)

    def due_in_s(self) -> float:
        """Seconds until the next questions."""
        return max(0.0, self._due_s - time.monotonic())

    def act(self) -> None:
        """Take the answers that are there, look who is gone, and ask.

        Where this comes late nobody was asked meanwhile, and silence means nothing: all have time again.
        """
        now_s = time.monotonic()
        for number in range(len(self._links)):
            self._hear(number)
        if now_s - self._due_s > ASK_EVERY_S:
            self._state.begin(now_s)
        self._due_s = now_s + ASK_EVERY_S
        if gone := self._state.gone(now_s):
            ports = " and ".join(map(uplink_port, gone))
            self._changed(gone, f"uplink {ports} is down: its next hop does not answer")
        for number, gateway in self._state.questions():
            for frame in question(self._links[number], gateway):
                self._sockets[number].send(frame)

    def report(self) -> list[Value]:
        """Each uplink with its port and whether it is up."""
        return self._state.report()

    def _hear(self, number: int) -> None:
        now_s = time.monotonic()
        for frame in packets.waiting(self._sockets[number], _BATCH):
            host = told_by(frame)
            if host is not None and self._state.heard(number, host, now_s):
                self._changed((), f"uplink {uplink_port(number)} is up again")


def told_by(frame: bytes) -> Host | None:
    """The host that says its MAC address in this frame; None where none does, or not as it must."""
    packet = parse(frame)
    if not isinstance(packet, Frame) or packet.vlans:
        return None
    if packet.ethertype != ARP and (packet.hop_limit != 255 or not transport_checksum_holds(frame, packet)):
        return None
    said = said_of(frame, packet)
    return said[0] if said is not None else None
