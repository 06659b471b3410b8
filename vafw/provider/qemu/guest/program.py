"""A packet appliance as a guest: its program, the same that the model runs, between two real interfaces.

Frames are read and written by packet sockets (packet(7)). The kernel takes a VLAN tag off a frame and says it beside;
it is put back, as the program is to see what was on the path. What a program may offer besides deciding on frames is in
`vafw.traffic.offers`, as on the model.
"""

from __future__ import annotations

import importlib
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

from vafw.provider.qemu.guest import interfaces
from vafw.trace import Value
from vafw.traffic.appliance import PacketAppliance
from vafw.traffic.condition import CLOCK_IS_SET_AFTER_S
from vafw.traffic.offers import ActsByItself, Frames, KnowsTheDate, Reconfigures, Starts

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
DEFAULT_TIMER_PERIOD_S: Final = 0.1
_LONGEST_FRAME: Final = 65_536
_BATCH: Final = 64


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
        self._timed: ActsByItself | None = None
        self._due_s = 0.0

    def configure(self, config: Mapping[str, Value]) -> tuple[bool, str]:
        """Make the program of `config` and let it decide from the next frame on; a failed probe changes nothing."""
        before = self._program
        try:
            made = before.reconfigured(config) if isinstance(before, Reconfigures) else self._create(config)
        except (ValueError, KeyError) as error:
            return False, f"the program refuses its configuration: {error}"
        healthy, reason = made.probe()
        if healthy:
            self._program = made
            self._begin(made)
        return healthy, reason

    def due_in_s(self) -> float | None:
        """Seconds until the program is to act by itself; None where it never does."""
        return None if self._timed is None else max(0.0, self._due_s - time.monotonic())

    def act(self) -> None:
        """Let the program send what it wants to by itself."""
        if self._timed is not None:
            now_s = time.monotonic()
            self._due_s = now_s + float(getattr(self._timed, "timer_period_s", DEFAULT_TIMER_PERIOD_S))
            self._send(self._timed.on_timer(now_s))

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

    def _begin(self, program: object) -> None:
        """Take what it offers besides deciding on frames, and let it send what it begins with."""
        now_s = time.monotonic()
        self._timed = program if isinstance(program, ActsByItself) else None
        self._due_s = now_s
        if isinstance(program, KnowsTheDate):
            wall_s = time.time()
            program.clock_set(wall_s - now_s if wall_s >= CLOCK_IS_SET_AFTER_S else None)
        if isinstance(program, Starts):
            self._send(program.start(now_s))

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

    def _send(self, frames: Frames) -> None:
        for leaves_by, each in frames:
            self._sockets[leaves_by].send(each)


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
