"""Requests to a running `up`: one JSON object a line over the unix socket of its run directory, one answer each.

    {"request": "status"}  ─▶  {"ok": true, "data": {…}}
    {"request": "melt"}    ─▶  {"ok": false, "error": "…", "exit": 4}

This is the asking side, which loads nothing but sockets; `vafw.supervisor.answers` is the other one.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Mapping
from typing import Any, Final

from vafw.errors import ExitCode, NotRunning, VafwError
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import Value

_ANSWER_TIMEOUT_S: Final = 60.0


class Answered(VafwError):
    """The running `up` answered a request with an error, whose exit code this one takes over."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("error")), hint=answer.get("hint"))
        self.answer = answer
        self.exit_code = _exit_code(answer.get("exit"))  # type: ignore[misc]  # the code of what was answered


def ask(run: RunDirectory, request: str, **details: Value) -> Value:
    """Send one request and return the answer's data; NotRunning where nobody listens, Answered where it is refused."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_TIMEOUT_S)
        try:
            connection.connect(str(run.socket))
            connection.sendall(json.dumps({"request": request, **details}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"{run.name} is not running", hint="start it with vafw up TOPOLOGY") from None
        except ConnectionError:
            line = b""
        except TimeoutError:
            raise VafwError(f"{run.name} must answer within {_ANSWER_TIMEOUT_S:.0f} s, and did not") from None
    if not line:
        raise NotRunning(f"{run.name} ended before it answered")
    answer: Mapping[str, Value] = json.loads(line)
    if not answer["ok"]:
        raise Answered(answer)
    return answer["data"]


def wait_for_end(pid: int, timeout_s: float = _ANSWER_TIMEOUT_S) -> bool:
    """Wait until the process has ended; False where it still runs after `timeout_s` seconds."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended, _, _ = select.select([process], [], [], timeout_s)
    finally:
        os.close(process)
    return bool(ended)


def _exit_code(number: Value) -> ExitCode:
    return next((code for code in ExitCode if code == number), ExitCode.FAILED)
