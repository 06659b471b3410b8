"""The guest's end of its channel: requests from the platform come in, answers and what it has to say go out.

A virtio serial port; one JSON object a line. A request bears a number under ``id`` and what is asked under ``do``; its
answer bears the same number. What bears none is news: ``{"news": "up"}``, ``{"news": "log", "line": ...}``.

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
    """The open port."""

    def __init__(self, device: Path, pause: Callable[[float], None] = time.sleep) -> None:
        self._descriptor = os.open(device, os.O_RDWR)
        self._pause = pause
        self._pauses = 0
        self._lines = Lines()

    def fileno(self) -> int:
        """For a selector."""
        return self._descriptor

    def receive(self) -> list[dict[str, Value]]:
        """The requests that have come; waits for some bytes, or a while for the platform. EOFError: it stayed away."""
        if data := os.read(self._descriptor, _CHUNK):
            self._pauses = 0
            return list(self._lines.feed(data))
        if self._pauses == HUNG_UP_PAUSES:
            raise EOFError("the platform hung up and did not come back")
        self._pauses += 1
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


def device() -> Path:
    """The port of this VM; FileNotFoundError where it has none."""
    for port in _PORTS.iterdir():
        if (port / "name").read_text().strip() == PORT_NAME:
            return Path("/dev", port.name)
    raise FileNotFoundError(f"the VM must have a virtio serial port of the name {PORT_NAME}")
