"""Requests to a running `up`: one JSON object a line over the unix socket of its run directory, one answer each.

    {"request": "status"}  ─▶  {"ok": true, "data": {…}}
    {"request": "melt"}    ─▶  {"ok": false, "error": "…", "exit": 4}

The socket's folder belongs to its owner alone; whoever can open it may ask for everything here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from vafw.errors import ExitCode, NoSuchObject, NotRunning, VafwError
from vafw.supervisor.run_directory import RunDirectory
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import Value

_LINE_LIMIT: Final = 1 << 20
_ANSWER_TIMEOUT_S: Final = 60.0

Answer = Callable[[], Awaitable[Value]]


def answers(supervisor: Supervisor, stop: Callable[[], None]) -> Mapping[str, Answer]:
    """What each request does."""

    async def status() -> Value:
        return supervisor.snapshot().to_json()

    async def attest() -> Value:
        return (await supervisor.attest()).to_json()

    async def display() -> Value:
        return base64.b64encode(supervisor.display()).decode()

    async def down() -> Value:
        stop()
        return supervisor.snapshot().to_json()

    return {"status": status, "attest": attest, "display": display, "down": down}


@asynccontextmanager
async def serve(run: RunDirectory, table: Mapping[str, Answer]) -> AsyncIterator[None]:
    """Take requests while the block runs."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, table)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # the asker went away, or sent a line beyond the limit
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(converse, run.socket, limit=_LINE_LIMIT)
    run.socket.chmod(0o600)
    async with server:
        yield


async def _answer(line: bytes, table: Mapping[str, Answer]) -> dict[str, Value]:
    try:
        request = json.loads(line)
        name = request.get("request") if isinstance(request, dict) else None
        if not isinstance(name, str) or name not in table:
            raise NoSuchObject(f"a request must be one of {', '.join(sorted(table))}, not {name!r}")
        return {"ok": True, "data": await table[name]()}
    except VafwError as error:
        return {"ok": False, "error": error.message, "exit": int(error.exit_code)}
    except ValueError as error:
        return {
            "ok": False,
            "error": f"a request must be one JSON object a line: {error}",
            "exit": int(ExitCode.USAGE),
        }


def ask(run: RunDirectory, request: str) -> Value:
    """Send one request and return the answer's data; NotRunning where nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_TIMEOUT_S)
        try:
            connection.connect(str(run.socket))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"{run.name} is not running", hint="start it with vafw up TOPOLOGY") from None
        connection.sendall(json.dumps({"request": request}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise NotRunning(f"{run.name} ended before it answered")
    answer = json.loads(line)
    if not answer["ok"]:
        raise _error_of(answer)
    data: Value = answer["data"]
    return data


def _error_of(answer: Mapping[str, Value]) -> VafwError:
    code = answer.get("exit")
    kinds = {kind.exit_code: kind for kind in VafwError.__subclasses__()}
    kind = kinds.get(ExitCode(code), VafwError) if isinstance(code, int) else VafwError
    return kind(str(answer.get("error")))
