"""A guest's end of a channel: requests from the platform come in, answers and what it has to say go out.

A virtio serial port to the platform, or a socket to the agent's process; one JSON object a line. A request bears a
number under ``id`` and what is asked under ``do``; its answer bears the same number. What bears none is news:
``{"news": "up"}``, ``{"news": "log", "line": ...}``.

A port whose other end nobody holds is always ready and never has anything: reading it in a loop would cost a processor.
The platform is given a while to come back; then the guest is nobody's, and ends.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, final

from vafw.trace import Value

PORT_NAME: Final = "vafw"
BROKER_PORT_NAME: Final = "vafw-broker"
LONGEST_LINE: Final = 4 << 20
_PORTS: Final = Path("/sys/class/virtio-ports")
_CHUNK: Final = 1 << 16
HUNG_UP_PAUSE_S: Final = 1
HUNG_UP_PAUSES: Final = 30
"""How often a guest looks again whether the platform came back, before it takes itself for abandoned."""


@final
class Lines:
    """Bytes in, whole JSON objects out; ValueError where a line is none or has no end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Value]]:
        """The objects that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError(f"a message must be a JSON object, not {line[:40]!r}")
            yield message
        if len(self._rest) > LONGEST_LINE:
            raise ValueError(f"a message must have at most {LONGEST_LINE} bytes")


def encode(message: dict[str, Value]) -> bytes:
    """One message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


@final
class Channel:
    """An open channel."""

    def __init__(
        self, descriptor: int, pause: Callable[[float], None] = time.sleep, *, pauses: int = HUNG_UP_PAUSES
    ) -> None:
        """`descriptor` is a serial port's, or a socket's, whose other end does not come back: no `pauses`."""
        self._descriptor = descriptor
        self._pause = pause
        self._pauses = self._left = pauses
        self._lines = Lines()

    def fileno(self) -> int:
        """For a selector."""
        return self._descriptor

    def receive(self) -> list[dict[str, Value]]:
        """The requests that have come; waits for some bytes, or a while for the other end. EOFError: it stayed away."""
        if data := os.read(self._descriptor, _CHUNK):
            self._left = self._pauses
            return list(self._lines.feed(data))
        if self._left == 0:
            raise EOFError("the other end hung up and did not come back")
        self._left -= 1
        self._pause(HUNG_UP_PAUSE_S)
        return []

    def send(self, message: dict[str, Value]) -> None:
        """Send one message, whole."""
        data = memoryview(encode(message))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def news(self, kind: str, **more: Value) -> None:
        """Say something that nobody asked for."""
        self.send({"news": kind, **more})

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def open_port(name: str) -> int:
    """The descriptor of a virtio serial port; FileNotFoundError where the VM has none of that name."""
    for port in _PORTS.iterdir():
        if (port / "name").read_text().strip() == name:
            return os.open(f"/dev/{port.name}", os.O_RDWR)
    raise FileNotFoundError(f"the VM must have a virtio serial port of the name {name}")
