"""The way from a guest's agent to the broker: the framing, and both ends of it over a socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.provider.qemu.guest.channel import Channel
from vafw.provider.qemu.guest.frames import LONGEST_DATA, Frame, Frames, Kind
from vafw.provider.qemu.guest.relay import Relay as GuestRelay
from vafw.provider.qemu.relay import CONNECTIONS, Relay

NUMBERS = st.integers(0, 65535)
FRAMES = st.one_of(
    st.builds(Frame, st.sampled_from([Kind.READY, Kind.OPEN, Kind.CLOSE]), NUMBERS),
    st.builds(Frame, st.just(Kind.DATA), NUMBERS, st.binary(min_size=1, max_size=300)),
)
PATIENCE_S = 10.0


def cut(data: bytes, lengths: list[int]) -> Iterator[bytes]:
    for length in lengths:
        yield data[:length]
        data = data[length:]
    yield data


@given(st.lists(FRAMES, max_size=20), st.lists(st.integers(1, 40), max_size=60))
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[Frame], lengths: list[int]) -> None:
    reader = Frames()
    data = b"".join(each.encode() for each in frames)
    assert [frame for chunk in cut(data, lengths) for frame in reader.feed(chunk)] == frames


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_are_refused(data: bytes) -> None:
    try:
        found = list(Frames().feed(data))
    except ValueError:
        return
    assert data.startswith(b"".join(each.encode() for each in found))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x07\0\0\0\0", "a frame's kind must be 1 to 4, not 7"),
        (b"\x03\0\0\0\0", "a frame of kind DATA must have 1 to 16384 bytes, not 0"),
        (b"\x03\0\0\x40\x01", "a frame of kind DATA must have 1 to 16384 bytes, not 16385"),
        (b"\x04\0\0\0\x01", "a frame of kind CLOSE must have 0 to 0 bytes, not 1"),
    ],
)
def test_what_no_end_sends_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(Frames().feed(data))


@asynccontextmanager
async def relayed(folder: Path, *, led: bool = True) -> AsyncIterator[tuple[str, int]]:
    """A guest's listener, relayed to a server that says everything back; where it listens."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()

    port = socket.socket(socket.AF_UNIX)
    port.bind(str(folder / "port"))
    port.listen()
    host = Relay()
    await host.connect(folder / "port")
    guest_end, _ = port.accept()
    guest = GuestRelay(guest_end.fileno())
    broker = await asyncio.start_server(echo, "127.0.0.1", 0)
    if led:
        host.lead_to(broker.sockets[0].getsockname()[:2])
    carrying = asyncio.create_task(host.carry())
    guest.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield guest.address
    finally:
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
        await asyncio.to_thread(guest.join)
        for each in (broker, port, guest_end):
            each.close()
        await broker.wait_closed()


async def test_several_connections_are_carried_at_once_and_whole(tmp_path: Path) -> None:
    async with relayed(tmp_path) as address:
        ends = [await asyncio.open_connection(*address) for _ in range(CONNECTIONS)]
        sent = [os.urandom(3 * LONGEST_DATA + number) for number in range(CONNECTIONS)]
        for (_, writer), data in zip(ends, sent, strict=True):
            writer.write(data)
        assert [await reader.readexactly(len(data)) for (reader, _), data in zip(ends, sent, strict=True)] == sent
        for _, writer in ends:
            writer.close()


async def test_a_connection_that_leads_nowhere_is_closed(tmp_path: Path) -> None:
    async with relayed(tmp_path, led=False) as address:
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.read() == b""
        writer.close()


async def test_a_guest_has_so_many_connections_and_the_next_is_closed_refused(tmp_path: Path) -> None:
    async with relayed(tmp_path) as address:
        ends = [await asyncio.open_connection(*address) for _ in range(CONNECTIONS + 1)]
        assert await ends[-1][0].read() == b""
        ends[0][1].write(b"still here")
        assert await ends[0][0].readexactly(10) == b"still here"
        for _, writer in ends:
            writer.close()


def test_a_channel_to_a_process_that_is_gone_ends_at_once() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours.detach(), pauses=0)
    theirs.close()
    with pytest.raises(EOFError, match="the other end hung up and did not come back"):
        channel.receive()
    channel.close()
