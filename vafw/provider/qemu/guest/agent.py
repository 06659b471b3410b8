"""The configuration agent as the first process sees it: a child that asks to have a configuration put in force.

    child ─{"do": "configure", "config": …}─▶ first process ─{"healthy": …, "reason": …}─▶ child
          ─{"do": "remember", "agent": …}──▶                 kept, and given to the next child

The child's standard input is a socket pair; one JSON object a line, as on the platform's channel. A child that ends is
followed by another, which begins with what the one before it asked to be remembered. Nothing of what is in force
depends on it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final, final

from vafw.provider.qemu.guest.channel import Channel
from vafw.provider.qemu.guest.libraries import ENVIRONMENT, UNPACK
from vafw.trace import Value

_START: Final = f"""
echo 1000 > /proc/self/oom_score_adj
{UNPACK}
exec "$@"
"""
"""Short of memory, it is the agent that goes."""
_PAUSE_S: Final = 1.0
"""Between the end of a child and the next one."""


@final
class AgentProcess:
    """The agent of this guest, in whatever process."""

    def __init__(self, module: str, agent: Mapping[str, Value], broker: tuple[str, int]) -> None:
        """`module` is run as a program; `agent` and `broker` are the first line that it reads."""
        self._module = module
        self._agent = agent
        self._broker = broker
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._due_s = 0.0
        self.starts = 0

    @property
    def channel(self) -> Channel | None:
        """Where the child asks; None between two children."""
        return self._channel

    def due_in_s(self) -> float | None:
        """Seconds until a child is to be started; None while one runs."""
        return None if self._channel is not None else max(0.0, self._due_s - time.monotonic())

    def start(self) -> Channel:
        """Start a child."""
        ours, theirs = socket.socketpair()
        command = ["/bin/busybox", "sh", "-c", _START, "agent", sys.executable, "-S", "-s", "-B", "-m", self._module]
        self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=os.environ | ENVIRONMENT)
        theirs.close()
        self._channel = Channel(ours.detach(), pauses=0)
        self._channel.send({"agent": dict(self._agent), "broker": list(self._broker)})
        self.starts += 1
        return self._channel

    def remember(self, agent: Mapping[str, Value]) -> None:
        """What the next child is started with."""
        self._agent = agent

    def ended(self) -> str:
        """See to it that the child is gone; how it ended."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._due_s = time.monotonic() + _PAUSE_S
        if self._process is None:
            return "it was not started"
        self._process.kill()
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def kill(self) -> None:
        """Have the child end as if something had gone wrong with it (kill(2), SIGKILL)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def report(self) -> dict[str, Value]:
        """The process and how many there were."""
        running = self._process is not None and self._channel is not None
        return {"pid": self._process.pid if self._process is not None and running else None, "starts": self.starts}
