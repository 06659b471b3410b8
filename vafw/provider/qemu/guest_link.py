"""The platform's end of a guest's channel: numbered requests, each awaited with its answer (`guest/channel.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, final

from vafw.errors import PlatformUnable
from vafw.machine.report import Health
from vafw.provider.qemu.guest.channel import LONGEST_LINE, Lines, encode
from vafw.trace import Value

REQUEST_TIMEOUT_S: Final = 60.0
"""How long a guest may take to answer: a ruleset of thousands of rules under an emulated processor."""
_CHUNK: Final = 1 << 16


@final
class GuestLink:
    """One guest's channel. What the guest says is never believed further than a report can be."""

    def __init__(self, vm: str, log: Callable[[str], None], probed: Callable[[Health], None]) -> None:
        """`log` is given each line that the guest says of its own, `probed` each health."""
        self._vm = vm
        self._log = log
        self._probed = probed
        self._up = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[dict[str, Value]]] = {}
        self._number = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, socket: Path) -> None:
        """Connect to the VM's serial port; OSError as long as QEMU has not made it."""
        self._reader, self._writer = await asyncio.open_unix_connection(socket, limit=LONGEST_LINE)

    async def listen(self) -> None:
        """Take what the guest says, until it says no more."""
        reader, lines = self._reader, Lines()
        if reader is None:
            raise PlatformUnable(f"the channel of {self._vm} must be connected before it is listened to")
        try:
            while data := await reader.read(_CHUNK):
                for message in lines.feed(data):
                    self._take(message)
        except (OSError, ValueError) as error:
            self._log(f"its channel is broken: {error}")
        finally:
            for future in self._waiting.values():
                future.cancel()

    async def wait_until_up(self) -> None:
        """Return when the guest's first process serves."""
        await self._up.wait()

    async def request(self, do: str, *, timeout_s: float = REQUEST_TIMEOUT_S, **more: Value) -> Mapping[str, Value]:
        """Ask, and return the answer; PlatformUnable where none comes in time."""
        if self._writer is None:
            raise PlatformUnable(f"{self._vm} must run to be asked, and it does not")
        self._number = number = self._number + 1
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(encode({"id": number, "do": do, **more}))
            async with asyncio.timeout(timeout_s):
                found: Mapping[str, Value] = await asyncio.shield(answer)
        except (TimeoutError, OSError) as error:
            raise PlatformUnable(f"{self._vm} must answer {do!r} within {timeout_s:.0f} s, and did not") from error
        except asyncio.CancelledError:
            if answer.cancelled():
                raise PlatformUnable(f"{self._vm} went down before it answered {do!r}") from None
            raise
        finally:
            del self._waiting[number]
        if "error" in found:
            raise PlatformUnable(f"{self._vm}: {found['error']}")
        return found

    def close(self) -> None:
        """Hang up; safe to call twice."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _take(self, message: dict[str, Value]) -> None:
        number = message.get("id")
        if isinstance(number, int):
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif message.get("news") == "up":
            self._up.set()
        elif message.get("news") == "health":
            self._probed(Health(message.get("healthy") is True, str(message.get("reason", ""))[:2000]))
        else:
            self._log(str(message.get("line", ""))[:2000])
