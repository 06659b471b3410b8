"""What a running `up` answers to the requests that `vafw.supervisor.requests` sends.

The socket's folder belongs to its owner alone; whoever can open it may ask for everything here. A request that fails,
whatever of, costs its asker an answer and the machine nothing. Nobody is hung up on without one: a run that ends while
a request is worked on tells its asker so first.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final, final

from vafw.document.diagnostic import DocumentInvalid
from vafw.document.rendering import render
from vafw.errors import ExitCode, NoSuchObject, NotRunning, VafwError
from vafw.supervisor.run_directory import RunDirectory
from vafw.supervisor.snapshot import RunPhase
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import Value

_LINE_LIMIT: Final = 1 << 20
_FAREWELL_S: Final = 2.0
"""How long an asker may take to read that the run has ended."""

Answer = Callable[[], Awaitable[Value]]
DetailedAnswer = Callable[[Mapping[str, Value]], Awaitable[Value]]
"""An answer to a request that says more than its name; it gets the whole request."""
NOTHING: Final[Mapping[str, DetailedAnswer]] = MappingProxyType({})


def answers(supervisor: Supervisor, stop: Callable[[], None]) -> Mapping[str, Answer]:
    """What each request does."""

    async def status() -> Value:
        return supervisor.snapshot().to_json()

    async def attest() -> Value:
        _require_up(supervisor)
        try:
            result = await supervisor.attest()
        finally:
            if supervisor.phase is RunPhase.FAILED:
                stop()
        return result.to_json()

    async def display() -> Value:
        _require_up(supervisor)
        return base64.b64encode(supervisor.display()).decode()

    async def down() -> Value:
        stop()
        return supervisor.snapshot().to_json()

    return {"status": status, "attest": attest, "display": display, "down": down}


def _require_up(supervisor: Supervisor) -> None:
    if supervisor.phase not in (RunPhase.UP, RunPhase.QUARANTINED):
        raise NotRunning(f"{supervisor.plan.name} must be up for this, and is {supervisor.phase}")


@final
class Desk:
    """Where requests are taken, for as long as the run lasts."""

    def __init__(self, name: str, table: Mapping[str, Answer], detailed: Mapping[str, DetailedAnswer]) -> None:
        self._name = name
        self._table = table
        self._detailed = detailed
        self._over = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        """Every connection with the task that speaks on it."""
        self._busy: set[asyncio.StreamWriter] = set()

    async def close(self) -> None:
        """Tell whoever still waits that the run ends, then hang up on everybody; safe to call twice."""
        self._over.set()
        waiting = [task for writer in self._busy if (task := self._open.get(writer))]
        if waiting:
            await asyncio.wait(waiting, timeout=_FAREWELL_S)
        for writer in tuple(self._open):
            writer.close()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after the other."""
        self._open[writer] = asyncio.current_task()
        try:
            while not self._over.is_set() and (line := await reader.readline()):
                self._busy.add(writer)
                writer.write(json.dumps(await self._before_the_end(line)).encode() + b"\n")
                await writer.drain()
                self._busy.discard(writer)
        except (ConnectionError, ValueError):  # the asker went away, or sent a line beyond the limit
            pass
        finally:
            self._busy.discard(writer)
            del self._open[writer]
            writer.close()

    async def _before_the_end(self, line: bytes) -> dict[str, Value]:
        """The answer, or that the run ended before there was one."""
        working = asyncio.ensure_future(_answer(line, self._table, self._detailed))
        ending = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not working.cancelled():
                return working.result()
            return _refused(
                f"{self._name} ended before this was done; what was committed is kept", ExitCode.NOT_RUNNING
            )
        finally:
            working.cancel()
            ending.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)


@asynccontextmanager
async def serve(
    run: RunDirectory, table: Mapping[str, Answer], detailed: Mapping[str, DetailedAnswer] = NOTHING
) -> AsyncIterator[Desk]:
    """Take requests while the block runs; at its end, or when the desk is closed, nobody is left without an answer."""
    desk = Desk(run.name, table, detailed)
    server = await asyncio.start_unix_server(desk.converse, run.socket, limit=_LINE_LIMIT)
    run.socket.chmod(0o600)
    try:
        yield desk
    finally:
        server.close()
        await desk.close()


async def _answer(line: bytes, table: Mapping[str, Answer], detailed: Mapping[str, DetailedAnswer]) -> dict[str, Value]:
    try:
        request = json.loads(line)
    except ValueError as error:
        return _refused(f"a request must be one JSON object a line: {error}", ExitCode.USAGE)
    name = request.get("request") if isinstance(request, dict) else None
    try:
        if isinstance(name, str) and name in detailed:
            return {"ok": True, "data": await detailed[name](request)}
        if not isinstance(name, str) or name not in table:
            known = ", ".join(sorted([*table, *detailed]))
            raise NoSuchObject(f"a request must be one of {known}, not {name!r}")
        return {"ok": True, "data": await table[name]()}
    except DocumentInvalid as error:
        return _refused(error.message, error.exit_code) | _shown(error)
    except VafwError as error:
        return _refused(error.message, error.exit_code) | {"hint": error.hint}
    except Exception as error:  # a fault of vafw: said to the asker, and no reason to stop a machine
        return _refused(f"this is a fault of vafw: {type(error).__name__}: {error}", ExitCode.FAILED)


def _shown(error: DocumentInvalid) -> dict[str, Value]:
    """Diagnostics for a face that has not the documents they point into."""
    return {
        "diagnostics": [each.to_json() for each in error.diagnostics],
        "rendered": render(error.diagnostics),
    }


def _refused(message: str, code: ExitCode) -> dict[str, Value]:
    return {"ok": False, "error": message, "exit": int(code)}
