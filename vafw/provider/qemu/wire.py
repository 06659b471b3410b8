"""A wire that leads out of the machine: a datagram socket, and behind it whatever answers frames.

The far end is handed in as a function from a frame to the frames that answer it; the small internet of the model
(`vafw.provider.peer`) is one. Nothing of the host's own network is behind it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, final

from vafw.trace import Value

LONGEST_FRAME: Final = 65_536
_BATCH: Final = 64
_KEPT: Final = 2000
"""Frames that left by the wire, kept to be looked at; the oldest go first."""

Answers = Callable[[bytes, float], Iterable[bytes]]


@final
class Wire:
    """What is plugged into a port outside."""

    def __init__(self, near: Path, far: Path, answers: Answers) -> None:
        """`near` is where this end receives, `far` where the VM does."""
        self._near, self._far = near, far
        self._answers = answers
        self._socket: socket.socket | None = None
        self._pulled = False
        self._counts = {"from-wire": 0, "to-wire": 0, "lost": 0}
        self.left: deque[bytes] = deque(maxlen=_KEPT)
        """Frames that left the machine, the latest last."""

    def plug_in(self) -> None:
        """Open this end; from now on frames are answered while the event loop runs."""
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.setblocking(False)
        self._near.unlink(missing_ok=True)
        opened.bind(str(self._near))
        self._socket = opened
        asyncio.get_running_loop().add_reader(opened, self._receive)

    def pull(self) -> None:
        """Pull the cable: from now on nothing comes out of the machine, and nothing is answered."""
        self._pulled = True

    def unplug(self) -> None:
        """Close it; safe to call twice."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._near.unlink(missing_ok=True)

    def counters(self) -> Mapping[str, Value]:
        """Frames in and out at the wire, and those that the VM did not take."""
        return {"frames": self._counts["from-wire"] + self._counts["to-wire"], **self._counts}

    def _receive(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                frame = self._socket.recv(LONGEST_FRAME)
            except BlockingIOError:
                return
            if self._pulled:
                continue
            self._counts["to-wire"] += 1
            self.left.append(frame)
            for answer in self._answers(frame, asyncio.get_running_loop().time()):
                self._send(self._socket, answer)

    def _send(self, opened: socket.socket, frame: bytes) -> None:
        try:
            opened.sendto(frame, str(self._far))
            self._counts["from-wire"] += 1
        except OSError:  # the VM is not there, or takes no more
            self._counts["lost"] += 1


def together(wires: Mapping[str, Wire]) -> Mapping[str, Value]:
    """The counters of all wires, and where there are several of each, by its network function."""
    counted = {name: wire.counters() for name, wire in wires.items()}
    found: dict[str, Value] = {
        key: sum(int(str(each[key])) for each in counted.values()) for key in ("frames", "from-wire", "to-wire", "lost")
    }
    if len(wires) > 1:
        for name, each in counted.items():
            found |= {f"from-{name}": each["from-wire"], f"to-{name}": each["to-wire"]}
    return found
