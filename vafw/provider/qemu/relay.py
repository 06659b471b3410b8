"""The platform's end of a guest's way to the broker: frames of a serial port become connections on this host.

Bytes are carried unread: they are TLS between an agent and the broker, and this is no party to it. A guest reaches one
address by it and nothing else; what it opens beyond a few connections is closed at once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from vafw.errors import PlatformUnable
from vafw.provider.qemu.guest.frames import LONGEST_DATA, Frame, Frames, Kind

CONNECTIONS: Final = 8
"""An agent needs one; one that was killed may leave another for a moment."""
_CHUNK: Final = 1 << 16


@final
class Relay:
    """One life of one guest's port."""

    def __init__(self) -> None:
        self._broker: tuple[str, int] | None = None
        self._open: dict[int, asyncio.StreamWriter] = {}
        self._carrying: dict[int, asyncio.Task[None]] = {}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, socket: Path) -> None:
        """Connect to the VM's serial port; OSError where QEMU has made none."""
        self._reader, self._writer = await asyncio.open_unix_connection(socket)

    def lead_to(self, broker: tuple[str, int] | None) -> None:
        """The one address, host and port, that connections are carried to from now on; None: to nowhere."""
        self._broker = broker
        for each in self._carrying.values():
            each.cancel()

    async def carry(self) -> None:
        """Carry until the guest is gone; ValueError for what no guest of ours sends, which ends every connection."""
        reader, frames = self._reader, Frames()
        if reader is None:
            raise PlatformUnable("a relay must be connected before it carries")
        try:
            while data := await reader.read(_CHUNK):
                for frame in frames.feed(data):
                    await self._take(frame)
        except OSError:
            return
        finally:
            await self._hang_up()

    async def _take(self, frame: Frame) -> None:
        number = frame.connection
        match frame.kind:
            case Kind.OPEN if number not in self._carrying and len(self._carrying) < CONNECTIONS:
                await self._begin(number)
            case Kind.OPEN:
                await self._send(Frame(Kind.CLOSE, number))
            case Kind.DATA if number in self._open:
                with suppress(OSError):  # its reader sees the end
                    self._open[number].write(frame.data)
                    await self._open[number].drain()
            case Kind.CLOSE if number in self._carrying:
                self._carrying[number].cancel()
            case _:
                return

    async def _begin(self, number: int) -> None:
        try:
            if self._broker is None:
                raise ConnectionRefusedError
            reader, self._open[number] = await asyncio.open_connection(*self._broker)
        except OSError:
            await self._send(Frame(Kind.CLOSE, number))
            return
        self._carrying[number] = asyncio.create_task(self._bring_back(number, reader), name=f"vafw.relay.{number}")

    async def _bring_back(self, number: int, reader: asyncio.StreamReader) -> None:
        """What the broker says, to the guest."""
        try:
            while data := await reader.read(LONGEST_DATA):
                await self._send(Frame(Kind.DATA, number, data))
        except OSError:
            pass
        finally:
            self._open.pop(number).close()
            del self._carrying[number]
        await self._send(Frame(Kind.CLOSE, number))

    async def _send(self, frame: Frame) -> None:
        if self._writer is not None:
            with suppress(OSError):  # the guest is gone, which whoever reads sees
                self._writer.write(frame.encode())
                await self._writer.drain()

    async def _hang_up(self) -> None:
        carrying = tuple(self._carrying.values())
        for each in carrying:
            each.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            self._writer = None
