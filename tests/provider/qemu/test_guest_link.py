"""The channel between platform and guest, with a guest that is a few lines here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.errors import PlatformUnable
from vafw.provider.qemu.guest.channel import LONGEST_LINE, Lines, encode
from vafw.provider.qemu.guest_link import GuestLink

Guest = Callable[[dict[str, Any]], list[bytes]]


@asynccontextmanager
async def talking(folder: Path, guest: Guest) -> AsyncIterator[tuple[GuestLink, list[str]]]:
    """A link to a guest that answers each request with what `guest` gives; no answer ends the guest."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode({"news": "up", "image": "firewall"}))
        while line := await reader.readline():
            answers = guest(json.loads(line))
            writer.writelines(answers)
            if not answers:
                break
        writer.close()

    said: list[str] = []
    server = await asyncio.start_unix_server(serve, folder / "vafw")
    link = GuestLink("firewall", said.append, lambda health: said.append(health.reason))
    await link.connect(folder / "vafw")
    listening = asyncio.create_task(link.listen())
    try:
        yield link, said
    finally:
        link.close()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def test_requests_get_their_own_answers_in_whatever_order_they_come(tmp_path: Path) -> None:
    held: list[dict[str, Any]] = []

    def guest(request: dict[str, Any]) -> list[bytes]:
        held.append(request)
        answers = [encode({"id": each["id"], "for": each["do"]}) for each in reversed(held)]
        return answers if len(held) == 2 else [encode({"news": "log", "line": "busy"})]

    async with talking(tmp_path, guest) as (link, said):
        await link.wait_until_up()
        first, second = await asyncio.gather(link.request("report"), link.request("probe"))
    assert (first["for"], second["for"]) == ("report", "probe")
    assert said == ["busy"]


async def test_a_guest_that_goes_down_leaves_no_request_waiting_refused(tmp_path: Path) -> None:
    async with talking(tmp_path, lambda request: []) as (link, _):
        with pytest.raises(PlatformUnable, match=r"^firewall went down before it answered 'report'$"):
            await link.request("report")


async def test_a_guest_that_does_not_answer_in_time_refused(tmp_path: Path) -> None:
    async with talking(tmp_path, lambda request: [encode({"news": "log"})]) as (link, _):
        with pytest.raises(PlatformUnable, match=r"^firewall must answer 'report' within 0 s, and did not$"):
            await link.request("report", timeout_s=0.01)


async def test_what_a_guest_cannot_do_it_says_refused(tmp_path: Path) -> None:
    def guest(request: dict[str, Any]) -> list[bytes]:
        return [encode({"id": request["id"], "error": "this guest cannot do 'run'"})]

    async with talking(tmp_path, guest) as (link, _):
        with pytest.raises(PlatformUnable, match=r"^firewall: this guest cannot do 'run'$"):
            await link.request("run")


async def test_nonsense_ends_the_channel_and_is_told(tmp_path: Path) -> None:
    async with talking(tmp_path, lambda request: [b"nonsense\n"]) as (link, said):
        with pytest.raises(PlatformUnable, match="went down"):
            await link.request("report")
    assert said == ["its channel is broken: Expecting value: line 1 column 1 (char 0)"]


async def test_a_link_that_was_never_connected_is_refused() -> None:
    with pytest.raises(PlatformUnable, match=r"^dns must run to be asked, and it does not$"):
        await GuestLink("dns", print, print).request("report")


@given(st.lists(st.dictionaries(st.text(), st.integers()), max_size=8), st.integers(1, 9))
def test_messages_survive_being_cut_anywhere(messages: list[dict[str, Any]], size: int) -> None:
    data = b"".join(map(encode, messages))
    lines = Lines()
    assert [each for at in range(0, len(data), size) for each in lines.feed(data[at : at + size])] == messages


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match=f"^a message must have at most {LONGEST_LINE} bytes$"):
        list(Lines().feed(b"x" * (LONGEST_LINE + 1)))
