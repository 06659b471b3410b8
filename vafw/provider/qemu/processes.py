"""One VM as a process: started, asked, watched, ended.

    spawn ─▶ QMP answers ─▶ the guest's channel ─▶ "up" ─▶ configured ─▶ its own probe

A process that ends is seen by the event loop at once, whatever ended it. The VM's monitor is spoken to by `qemu.qmp`;
the picture is asked for over a second monitor, waiting, as whoever wants a picture wants it now.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from qemu.qmp import QMPClient, QMPError

from vafw.errors import PlatformUnable
from vafw.machine.mandate import Mandate
from vafw.machine.report import Health
from vafw.provider.qemu.argv import Places
from vafw.provider.qemu.child import bound_to_this_process
from vafw.provider.qemu.guest_link import REQUEST_TIMEOUT_S, GuestLink
from vafw.provider.qemu.relay import Relay
from vafw.trace import Value

logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())  # what it would print is raised here anyway

BOOT_TIMEOUT_S: Final = 60.0
"""From the start of the process to the guest's first word; under emulation on a busy host some 10 s."""
SOCKET_TIMEOUT_S: Final = 10.0
QUIT_TIMEOUT_S: Final = 3.0
PICTURE_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.02
_LAST_LINES: Final = 3


@final
class VirtualMachine:
    """One life of one VM: from the start of its process to its end."""

    def __init__(self, name: str, command: Sequence[str], descriptors: Sequence[int], places: Places) -> None:
        """`descriptors` are inherited by the process: the measured bytes that it boots."""
        self.name = name
        self._command = bound_to_this_process(*command)
        self._descriptors = tuple(descriptors)
        self._places = places
        self._process: asyncio.subprocess.Process | None = None
        self._monitor = QMPClient(name)
        self._listening: asyncio.Task[None] | None = None
        self._link: GuestLink | None = None
        self._relay: Relay | None = None
        self._relaying: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process, where there is one."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(
        self,
        log: Callable[[str], None],
        probed: Callable[[Health], None] = lambda _health: None,
        *,
        born: Callable[[int], None] | None = None,
        boot_timeout_s: float = BOOT_TIMEOUT_S,
    ) -> None:
        """Start the process and wait until its guest serves; PlatformUnable says how far it came.

        `log` and `probed` are given what the guest says unasked, `born` the process's number as soon as there is one.
        """
        for path in (self._places.monitor(self.name), self._places.channel(self.name), self._places.broker(self.name)):
            path.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            pass_fds=self._descriptors,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        if born is not None:
            born(self._process.pid)
        self._link = GuestLink(self.name, log, probed)
        await self._first_of(self._reach(self._link), SOCKET_TIMEOUT_S, "its monitor to answer")
        self._listening = asyncio.create_task(self._link.listen(), name=f"vafw[{self.name}].channel")
        await self._first_of(self._link.wait_until_up(), boot_timeout_s, "its guest to boot")

    async def configure(self, config: Mapping[str, Value], ports: Mapping[str, str]) -> Health:
        """Give the guest a configuration, and return what its own probe says of it."""
        answer = await self._asked().request("configure", config=dict(config), ports=dict(ports))
        return Health(answer.get("healthy") is True, str(answer.get("reason", "")))

    async def manage(self, mandate: Mandate) -> None:
        """Have the guest's own agent serve, and carry what it says to the broker; PlatformUnable where it cannot."""
        if self._relay is None:
            relay = Relay()
            await relay.connect(self._places.broker(self.name))
            self._relay, self._relaying = relay, asyncio.create_task(relay.carry(), name=f"vafw[{self.name}].relay")
        self._relay.lead_to(mandate.broker)
        await self._asked().request("manage", agent=dict(mandate.agent))

    def leave(self) -> None:
        """Carry nothing to a broker any more; the agent in the guest stays, and has nobody to talk to."""
        if self._relay is not None:
            self._relay.lead_to(None)

    async def request(self, do: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> Mapping[str, Value]:
        """Ask the guest; PlatformUnable where it does not answer."""
        return await self._asked().request(do, timeout_s=timeout_s)

    async def wait(self) -> str:
        """Return when the process has ended, with how."""
        process = self._running()
        code = await process.wait()
        ended = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"its process ended ({ended}){self._last_words()}"

    async def end(self) -> None:
        """Ask the process to quit, and kill it where it does not; safe to call twice."""
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(QMPError, OSError, TimeoutError, EOFError):
                async with asyncio.timeout(QUIT_TIMEOUT_S):
                    await self._monitor.execute("quit")
                    await process.wait()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self._let_go()

    def picture(self, target: Path) -> bytes:
        """The picture on the VM's display, as PNG; PlatformUnable where it cannot be had."""
        target.unlink(missing_ok=True)
        try:
            _screendump(self._places.screen(self.name), target)
            return target.read_bytes()
        except (OSError, ValueError) as error:
            raise PlatformUnable(f"the display of {self.name} could not be captured: {error}") from error

    def _asked(self) -> GuestLink:
        if self._link is None:
            raise PlatformUnable(f"{self.name} must run to be asked, and it does not")
        return self._link

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise PlatformUnable(f"{self.name} was not started")
        return self._process

    async def _reach(self, link: GuestLink) -> None:
        """Connect to both sockets as soon as QEMU has made them."""
        while True:
            try:
                await link.connect(self._places.channel(self.name))
                break
            except OSError:
                await asyncio.sleep(_RETRY_S)
        await self._monitor.connect(str(self._places.monitor(self.name)))

    async def _first_of(self, hoped: Coroutine[None, None, None], timeout_s: float, what: str) -> None:
        """Wait for `hoped`, for the end of the process, or for the time to pass, whichever comes first."""
        process = self._running()
        hope = asyncio.ensure_future(hoped)
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait((hope, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if hope.done():
                hope.result()
                return
            if ended.done():
                raise PlatformUnable(f"{self.name} ended while vafw waited for {what}{await self._complaint()}")
            raise PlatformUnable(f"{self.name} did not bring {what} within {timeout_s:.0f} s{self._last_words()}")
        except (QMPError, OSError, EOFError) as error:
            raise PlatformUnable(f"{self.name} broke off while vafw waited for {what}: {error}") from error
        finally:
            for each in (hope, ended):
                each.cancel()

    async def _complaint(self) -> str:
        """What QEMU itself said, or the guest's last lines."""
        stream = self._running().stderr
        said = (await stream.read()).decode(errors="replace").strip() if stream is not None else ""
        return f": {said.splitlines()[-1]}" if said else self._last_words()

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._places.console(self.name).read_text(errors="replace").strip().splitlines()
            telling = [line for line in lines if "Kernel panic" in line or "Error" in line][-_LAST_LINES:]
            if chosen := telling or lines[-1:]:
                return ": " + "; ".join(chosen)
        return ""

    async def _let_go(self) -> None:
        if self._relaying is not None:
            self._relaying.cancel()
            await asyncio.gather(self._relaying, return_exceptions=True)
        if self._link is not None:
            self._link.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        with suppress(QMPError, OSError, EOFError):
            await self._monitor.disconnect()


def _screendump(monitor: Path, target: Path) -> None:
    """Ask for a picture over a monitor of its own (QMP specification; "screendump")."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PICTURE_TIMEOUT_S)
        connection.connect(os.fspath(monitor))
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.readline()
            arguments = {"filename": str(target), "format": "png", "device": "display"}
            for command in ({"execute": "qmp_capabilities"}, {"execute": "screendump", "arguments": arguments}):
                stream.write(json.dumps(command) + "\n")
                stream.flush()
                while "return" not in (answer := json.loads(stream.readline())):
                    if "error" in answer:
                        raise ValueError(answer["error"]["desc"])
