"""What a running `up` answers to the requests that `vafw.supervisor.requests` sends.

The socket's folder belongs to its owner alone; whoever can open it may ask for everything here. A request that fails,
whatever of, costs its asker an answer and the machine nothing.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

from vafw.document.diagnostic import DocumentInvalid
from vafw.document.rendering import render
from vafw.errors import ExitCode, NoSuchObject, NotRunning, VafwError
from vafw.supervisor.run_directory import RunDirectory
from vafw.supervisor.snapshot import RunPhase
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import Value

_LINE_LIMIT: Final = 1 << 20

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


@asynccontextmanager
async def serve(
    run: RunDirectory, table: Mapping[str, Answer], detailed: Mapping[str, DetailedAnswer] = NOTHING
) -> AsyncIterator[None]:
    """Take requests while the block runs; whoever is still connected at its end is hung up on."""
    open_connections: set[asyncio.StreamWriter] = set()
    over = asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        try:
            while not over.is_set() and (line := await reader.readline()):
                writer.write(json.dumps(await _answer(line, table, detailed)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # the asker went away, or sent a line beyond the limit
            pass
        finally:
            open_connections.discard(writer)
            writer.close()

    server = await asyncio.start_unix_server(converse, run.socket, limit=_LINE_LIMIT)
    run.socket.chmod(0o600)
    async with server:
        try:
            yield
        finally:
            server.close()
            over.set()  # for whoever connected in this very moment
            for writer in tuple(open_connections):
                writer.close()


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
