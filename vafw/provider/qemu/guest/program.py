"""A packet appliance as a guest: its program, the same that the model runs, between two real interfaces.

Frames are read and written by packet sockets (packet(7)). The kernel takes a VLAN tag off a frame and says it beside;
it is put back, as the program is to see what was on the path. What a program may offer besides deciding is what it may
offer to the model's guest kernel: frames to send first, frames to send when it is time, and one to follow it.
"""

from __future__ import annotations

import importlib
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol, final, runtime_checkable

from vafw.provider.qemu.guest import interfaces
from vafw.trace import Value
from vafw.traffic.appliance import PacketAppliance

_ALL_PROTOCOLS: Final = 3
"""ETH_P_ALL."""
_OUTGOING: Final = 4
"""PACKET_OUTGOING."""
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP: Final = 1
_AUXDATA: Final = 8
_PROMISCUOUS: Final = 1
_AUX: Final = struct.Struct("IIIHHHH")
"""struct tpacket_auxdata: status, length, captured, two offsets, tag, tag protocol."""
_VLAN_VALID, _VLAN_PROTOCOL_VALID = 0x10, 0x40
_LONGEST_FRAME: Final = 65_536
_BATCH: Final = 64
_TIMER_PERIOD_S: Final = 0.1
"""How often a program is asked that does not say."""


@runtime_checkable
class _Starts(Protocol):
    """A program with something to send when it starts."""

    def start(self, now_s: float) -> Iterable[tuple[str, bytes]]: ...


@runtime_checkable
class _ActsByItself(Protocol):
    """A program that sends frames unasked, about every `timer_period_s` seconds."""

    def on_timer(self, now_s: float) -> Iterable[tuple[str, bytes]]: ...


@runtime_checkable
class _Reconfigures(Protocol):
    """A program that can hand what it knows over to one with another configuration."""

    def reconfigured(self, config: Mapping[str, Value]) -> PacketAppliance: ...


@final
class Program:
    """A program that decides on frames."""

    def __init__(self, module: str, ports: tuple[str, ...], log: Callable[[str], None]) -> None:
        interfaces.keep_silent()
        self._create: Callable[[Mapping[str, Value]], PacketAppliance] = importlib.import_module(module).create
        self.ports = ports
        self._log = log
        self._sockets: dict[str, socket.socket] = {}
        self._program: PacketAppliance | None = None
        self._timed: _ActsByItself | None = None
        """The program where it sends frames unasked."""
        self._due_s = 0.0
        """When it wants to be asked for them, by the monotonic clock."""

    def configure(self, config: Mapping[str, Value]) -> tuple[bool, str]:
        """Make the program of `config` and let it decide from the next frame on; a failed probe changes nothing."""
        try:
            before = self._program
            made = before.reconfigured(config) if isinstance(before, _Reconfigures) else self._create(config)
        except (ValueError, KeyError) as error:
            return False, f"the program refuses its configuration: {error}"
        healthy, reason = made.probe()
        if healthy:
            self._program = made
            self._take_offers(made)
        return healthy, reason

    def due_in_s(self) -> float | None:
        """Seconds until `advance` wants to be called; None: never."""
        return None if self._timed is None else max(0.0, self._due_s - time.monotonic())

    def advance(self) -> None:
        """Send what the program wants to send by itself, if it is time."""
        if self._timed is not None and self._due_s <= time.monotonic():
            self._send(self._timed.on_timer(time.monotonic()))
            self._arm(self._timed)

    def sources(self) -> Iterator[tuple[socket.socket, Callable[[], None]]]:
        """Each port's socket, and what to do when a frame is there."""
        for port in self.ports:
            interfaces.up(port)
            self._sockets[port] = _open(port)
        for port, its_socket in self._sockets.items():
            yield its_socket, lambda port=port: self._take(port)  # type: ignore[misc]  # the default binds it

    def probe(self) -> tuple[bool, str]:
        """What the program says of itself."""
        return (False, "no program was configured yet") if self._program is None else self._program.probe()

    def report(self) -> Mapping[str, Value]:
        """What the program counted."""
        return {} if self._program is None else self._program.report()

    def _take(self, port: str) -> None:
        for _ in range(_BATCH):
            try:
                frame = _receive(self._sockets[port])
            except BlockingIOError:
                return
            if frame is not None and self._program is not None:
                self._decide(self._program, port, frame)

    def _decide(self, program: PacketAppliance, port: str, frame: bytes) -> None:
        verdict = program.handle(port, frame, time.monotonic())
        self._send(verdict.emit)
        if verdict.log:
            self._log(verdict.log)

    def _send(self, frames: Iterable[tuple[str, bytes]]) -> None:
        for leaves_by, each in frames:
            self._sockets[leaves_by].send(each)

    def _take_offers(self, offered: object) -> None:
        """What the program can do besides deciding on frames."""
        if isinstance(offered, _Starts):
            self._send(offered.start(time.monotonic()))
        self._timed = offered if isinstance(offered, _ActsByItself) else None
        if self._timed is not None:
            self._arm(self._timed)

    def _arm(self, timed: _ActsByItself) -> None:
        self._due_s = time.monotonic() + float(getattr(timed, "timer_period_s", _TIMER_PERIOD_S))


def _open(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    opened.bind((interface, 0))
    number = socket.if_nametoindex(interface)
    opened.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("iHH8s", number, _PROMISCUOUS, 0, bytes(8)))
    opened.setsockopt(_SOL_PACKET, _AUXDATA, 1)
    opened.setblocking(False)
    return opened


def _receive(opened: socket.socket) -> bytes | None:
    """The next frame as it was on the path; None for one that this guest sent itself."""
    frame: bytes
    frame, beside, _, address = opened.recvmsg(_LONGEST_FRAME, socket.CMSG_SPACE(_AUX.size))
    if address[2] == _OUTGOING:
        return None
    for level, kind, data in beside:
        if (level, kind) == (_SOL_PACKET, _AUXDATA):
            frame = _tagged(frame, data)
    return frame


def _tagged(frame: bytes, beside: bytes) -> bytes:
    status: int
    tag: int
    protocol: int
    status, _, _, _, _, tag, protocol = _AUX.unpack(beside[: _AUX.size])
    if not status & _VLAN_VALID:
        return frame
    kind = protocol if status & _VLAN_PROTOCOL_VALID else 0x8100
    return frame[:12] + kind.to_bytes(2, "big") + tag.to_bytes(2, "big") + frame[12:]
