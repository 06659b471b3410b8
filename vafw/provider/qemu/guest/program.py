"""A packet appliance as a guest: its program, the same that the model runs, between two real interfaces.

Frames are read and written by packet sockets. What a program may offer besides deciding on frames is in
`vafw.traffic.offers`, as on the model.
"""

from __future__ import annotations

import importlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

from vafw.provider.qemu.guest import interfaces, packets
from vafw.provider.qemu.guest.held import Held
from vafw.trace import Value
from vafw.traffic.appliance import PacketAppliance
from vafw.traffic.condition import CLOCK_IS_SET_AFTER_S
from vafw.traffic.offers import ActsByItself, Frames, KnowsTheDate, Reconfigures, Starts

DEFAULT_TIMER_PERIOD_S: Final = 0.1
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
        self._held = Held()

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
        """Seconds until something is to be sent though no frame comes; None where nothing is."""
        now_s = time.monotonic()
        timed = None if self._timed is None else max(0.0, self._due_s - now_s)
        return min((each for each in (timed, self._held.due_in_s(now_s)) if each is not None), default=None)

    def act(self) -> None:
        """Let the program send what it wants to by itself, and go what has waited long enough."""
        now_s = time.monotonic()
        self._put_out(self._held.overdue(now_s))
        if self._timed is not None and now_s >= self._due_s:
            self._due_s = now_s + float(getattr(self._timed, "timer_period_s", DEFAULT_TIMER_PERIOD_S))
            self._send(self._timed.on_timer(now_s))

    def sources(self) -> Iterator[tuple[socket.socket, Callable[[], None]]]:
        """Each port's socket, and what to do when a frame is there."""
        for port in self.ports:
            interfaces.up(port)
            self._sockets[port] = packets.open_whole(port)
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
        for frame in packets.waiting(self._sockets[port], _BATCH):
            if self._program is not None:
                self._decide(self._program, port, frame)

    def _decide(self, program: PacketAppliance, port: str, frame: bytes) -> None:
        freed = self._held.freed(port, frame)
        if freed is not None:
            self._put_out(freed)
            return
        verdict = program.handle(port, frame, time.monotonic())
        self._send(verdict.emit)
        if verdict.log:
            self._log(verdict.log)

    def _send(self, frames: Frames) -> None:
        self._put_out(self._held.sends(tuple(frames), time.monotonic()))

    def _put_out(self, frames: Frames) -> None:
        for leaves_by, each in frames:
            self._sockets[leaves_by].send(each)
