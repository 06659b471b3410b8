"""mosquitto as a supervised child: its configuration as a pure text, its start, its watch and its restarts.

    absent ──start──▶ starting ──says that it runs──▶ running ──exits or stops answering──▶ pause ──▶ starting

It listens on loopback alone and knows a client by its certificate only. Its folder belongs to its owner; what it keeps
there is a cache. The hard part is a broker that is alive and does not answer: it is asked for a TLS handshake now and
then, and one that fails twice in a row is killed like one that died.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import select
import shutil
import signal
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from vafw.clock import Clock
from vafw.control import topics
from vafw.control.access import Access
from vafw.control.bus import ANSWER_TIMEOUT_S, MqttLine
from vafw.control.certificates import Authority, Certificate, client_context
from vafw.control.envelope import MAXIMUM_BYTES
from vafw.errors import PlatformUnable, VafwError
from vafw.trace import EventKind

ADDRESS: Final = "127.0.0.1"
READY_TIMEOUT_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""Pauses between restarts double from the first to the longest, so that a broker that cannot run costs little."""
STEADY_S: Final = 30.0
"""A broker that ran this long is forgiven its earlier ends."""
PROBE_PERIOD_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 2.0
PROBES_FAILED: Final = 2
_HEADERS: Final = 1 << 10
"""Room for topic and packet header beside the payload."""
_RUNNING: Final = "running"
_LINES_KEPT: Final = 40
_CONFIG: Final = "mosquitto.conf"
_PID: Final = "pid"
_CLEARING_S: Final = 2.0

Notice = Callable[[EventKind, str], None]
"""Is told what happens to the broker, in a sentence."""


class BrokerFailed(VafwError):
    """mosquitto did not come up; the message carries its last words."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that mosquitto's configuration depends on."""

    folder: Path
    port: int
    user: str
    """The account it runs as; it would drop to another one where it is started by root."""


def configuration(settings: Settings) -> str:
    """The text of mosquitto.conf (mosquitto.conf(5), version 2.0)."""
    folder = settings.folder
    return "\n".join(
        [
            f"listener {settings.port} {ADDRESS}",
            f"user {settings.user}",
            "# who: a client is its certificate, and its client id is its name",
            "allow_anonymous false",
            f"cafile {folder / 'ca.pem'}",
            f"certfile {folder / 'broker.pem'}",
            f"keyfile {folder / 'broker.key'}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "# what: see the access list; retained messages of whoever lost the right are not sent",
            f"acl_file {folder / 'access'}",
            "check_retain_source true",
            "# how much",
            f"max_packet_size {MAXIMUM_BYTES + _HEADERS}",
            "max_queued_messages 1000",
            "max_keepalive 60",
            "max_connections 256",
            "set_tcp_nodelay true",
            "# a cache, for a quicker recovery only",
            "persistence true",
            f"persistence_location {folder / 'store'}/",
            "autosave_interval 1",
            "# its words go to whoever started it",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",
            "connection_messages false",
            "",
        ]
    )


def command(program: Path, config: Path, parent_death: Path | None) -> list[str]:
    """The command line; with setpriv(1) the child dies with whoever started it, however that ends."""
    tied = [str(parent_death), "--pdeathsig", "KILL"] if parent_death else []
    return [*tied, str(program), "-c", str(config)]


def installed() -> Path | None:
    """The program, where this host has it."""
    found = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
    return Path(found) if found else None


def clear_orphan(folder: Path) -> int | None:
    """Kill a broker that outlived the run which started it from `folder`; its pid, or None where there is none.

    The pid that was noted may be another process's by now: the process is held first, then asked for its command line.
    """
    try:
        pid = int((folder / _PID).read_text())
        process = os.pidfd_open(pid)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    try:
        if os.fsencode(folder / _CONFIG) not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return None
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], _CLEARING_S)
        return pid
    except (FileNotFoundError, ProcessLookupError):
        return None
    finally:
        os.close(process)


@final
class MosquittoBroker:
    """A running mosquitto."""

    def __init__(self, workstation: str, folder: Path, program: Path, clock: Clock, notice: Notice) -> None:
        self.folder = folder
        self.starts = 0
        """How often it was started."""
        self._program = program
        self._clock = clock
        self._notice = notice
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._process: Process | None = None
        self._up = asyncio.Event()
        for each in (folder, folder / "store"):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            each.chmod(0o700)
        if (orphan := clear_orphan(folder)) is not None:
            notice(EventKind.RUN_CLEARED, f"the broker of an earlier run, process {orphan}, was ended")
        self._authority = Authority(folder, clock.wall())
        self._authority.server(ADDRESS)
        self._probe = client_context(self._authority.certificate, None)
        self.port = _free_port()
        _write_private(folder / "access", topics.access_list(workstation))
        _write_private(folder / _CONFIG, configuration(Settings(folder, self.port, getpass.getuser())))

    @classmethod
    @asynccontextmanager
    async def run(
        cls, workstation: str, folder: Path, clock: Clock, notice: Notice = lambda _kind, _text: None
    ) -> AsyncIterator[MosquittoBroker]:
        """A broker for as long as the block lasts, restarted whenever it ends; PlatformUnable where none is there.

        One that an earlier run left behind in `folder` is ended first.
        """
        program = installed()
        if program is None:
            raise PlatformUnable("mosquitto must be installed for this", hint="apt-get install mosquitto")
        broker = cls(workstation, folder, program, clock, notice)
        await broker._start()
        watch = asyncio.create_task(broker._keep(), name=f"vafw[{workstation}].broker")
        try:
            yield broker
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await broker._end()

    @property
    def pid(self) -> int:
        """The process that runs now."""
        if self._process is None:
            raise BrokerFailed("mosquitto must be running for this, and is not")
        return self._process.pid

    def line(self, identity: str) -> MqttLine:
        """How `identity` reaches it, with a certificate of its own."""
        return self.line_with(identity, self.certificate(identity))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ADDRESS, self.port

    def access(self, identity: str) -> Access:
        """What lets `identity` in from elsewhere, with a certificate of its own."""
        made = self.certificate(identity)
        texts = (each.read_text(encoding="ascii") for each in (made.certificate, made.key))
        return Access(identity, self._authority.certificate.read_text(encoding="ascii"), *texts)

    def certificate(self, identity: str) -> Certificate:
        """A certificate that this broker takes `identity` for."""
        return self._authority.client(identity)

    def line_with(
        self, identity: str, certificate: Certificate | None, patience_s: float = ANSWER_TIMEOUT_S
    ) -> MqttLine:
        """A line with a certificate made elsewhere, or with none."""
        tls = client_context(self._authority.certificate, certificate)
        return MqttLine(ADDRESS, self.port, identity, tls=tls, patience_s=patience_s)

    async def ready(self) -> None:
        """Return once it runs."""
        await self._up.wait()

    # -- machinery --------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        setpriv = shutil.which("setpriv")
        argv = command(self._program, self.folder / _CONFIG, Path(setpriv) if setpriv else None)
        self.starts += 1
        self._process = await asyncio.create_subprocess_exec(
            *argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, umask=0o077, start_new_session=True
        )
        _write_private(self.folder / _PID, str(self._process.pid))
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._until_it_says(_RUNNING)
        except TimeoutError as error:
            await self._end()
            raise BrokerFailed(f"mosquitto must run within {READY_TIMEOUT_S:g} s: {self._last_words()}") from error
        self._up.set()

    async def _until_it_says(self, word: str) -> None:
        """Read its lines up to the one that ends in `word`."""
        while line := await self._line():
            if line.endswith(word):
                return
        await self._end()
        raise BrokerFailed(f"mosquitto ended at its start: {self._last_words()}")

    async def _line(self) -> str:
        stream = self._process.stdout if self._process else None
        line = (await stream.readline()).decode(errors="replace").rstrip() if stream else ""
        if line:
            self._said.append(line)
        return line

    async def _keep(self) -> None:
        """Start it again whenever it ends."""
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = self._clock.monotonic()
            await self._until_it_ends()
            self._up.clear()
            self._notice(EventKind.CONTROL_LOST, f"mosquitto ended and is started again: {self._last_words()}")
            if self._clock.monotonic() - began_s >= STEADY_S:
                pause_s = FIRST_PAUSE_S
            while not self._up.is_set():
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                with suppress(BrokerFailed):
                    await self._start()
            self._notice(EventKind.CONTROL_BACK, f"mosquitto runs again, start {self.starts}")

    async def _until_it_ends(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(self._probe_until_silent(), name="vafw.broker.probe")
            while await self._line():
                pass
            probing.cancel()
        await self._end()

    async def _probe_until_silent(self) -> None:
        """Kill it once it stops answering; a stopped process still accepts connections, but shakes no hands."""
        failed = 0
        while failed < PROBES_FAILED:
            await self._clock.sleep(PROBE_PERIOD_S)
            failed = 0 if await self._answers() else failed + 1
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(ADDRESS, self.port, ssl=self._probe)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _end(self) -> None:
        """Kill what is left of it; its store is a cache and needs no farewell."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()
        if self._process is process:
            self._process = None
            (self.folder / _PID).unlink(missing_ok=True)

    def _last_words(self) -> str:
        return " / ".join(list(self._said)[-3:]) or "it said nothing"


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((ADDRESS, 0))
        port: int = asked.getsockname()[1]
    return port


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
