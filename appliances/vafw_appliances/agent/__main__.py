"""`vafw.control.agent` as a process: its standard input is a socket to the guest's first process, a JSON object a line.

    first line in   {"agent": START, "broker": [host, port]}
    out             {"id": 1, "do": "configure", "config": …}     in   {"id": 1, "healthy": true, "reason": …}
                    {"do": "remember", "agent": START}            START for a process after this one

What is in force does not depend on this process: it is asked for here and held elsewhere. `START` says who the agent
is, whom it obeys and what runs already (`Start`); it comes from the platform, at each boot, and a part of it is secret.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from itertools import count
from typing import Any, Final, final

from vafw.clock import SystemClock
from vafw.control.agent import Agent
from vafw.control.start import Start
from vafw.machine.report import Health
from vafw.trace import Value

_STANDARD_INPUT: Final = 0
_LONGEST_LINE: Final = 4 << 20
PATIENCE_S: Final = 20.0
"""How long the broker may take to answer; under an emulated processor TLS alone takes a second."""


@final
class FirstProcess:
    """The guest's first process, which puts configurations in force."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = count(1)
        self._asking = asyncio.Lock()

    async def apply(self, config: Mapping[str, Value]) -> Health:
        """Have `config` put in force; where it is not healthy the old one stays."""
        async with self._asking:
            number = next(self._numbers)
            self._writer.write(_line({"id": number, "do": "configure", "config": dict(config)}))
            while (answer := await self.hear())["id"] != number:
                continue
        return Health(answer["healthy"] is True, str(answer["reason"]))

    def remember(self, start: Start) -> None:
        """Leave word for the process after this one."""
        self._writer.write(_line({"do": "remember", "agent": start.to_json()}))

    async def hear(self) -> dict[str, Any]:
        """The next line; EOFError where there will be none."""
        line = await self._reader.readline()
        if not line:
            raise EOFError("the guest's first process is gone")
        heard: dict[str, Any] = json.loads(line)
        return heard


def _line(message: Mapping[str, Value]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


async def serve(opened: socket.socket) -> None:
    """Serve until this process is ended."""
    first = FirstProcess(*await asyncio.open_connection(sock=opened, limit=_LONGEST_LINE))
    told = await first.hear()
    start = Start.from_json(told["agent"])
    host, port = told["broker"]
    line = start.access.line(host, port, patience_s=PATIENCE_S)
    agent = Agent(
        start.identity,
        line,
        first,
        SystemClock(),
        started_with=start.running,
        floor=start.running.version,
        spent=start.spent,
        kept=lambda running, spent: first.remember(start.with_running(running, spent)),
    )
    await agent.run()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=_STANDARD_INPUT)))
