"""Taps: two network namespaces joined by two open ends, and every way in which an end cannot be had."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.captures.namespaces import Site, address_router, address_user, adopt_tap, missing, site
from tests.captures.servers import LINE
from vafw.errors import PlatformUnable
from vafw.provider.model.tap import DEVICE, Tap

BROADCAST = b"\xff" * 12 + b"\x08\x00" + bytes(60)


@pytest.fixture
def name() -> str:
    """A name that no other run of these tests has."""
    if why := missing():
        pytest.skip(why)
    return f"vafw-t{os.getpid() % 10**8}"


@pytest.fixture
def joined(name: str, tmp_path: Path) -> Iterator[tuple[Site, Tap, Tap]]:
    """A site whose user and router have a tap each."""
    with site(tmp_path) as made, Tap(f"{name}u") as user, Tap(f"{name}w") as wire:
        adopt_tap(made.user, user.name)
        adopt_tap(made.router, wire.name)
        address_user(made.user, user.name)
        address_router(made.router, wire.name)
        yield made, user, wire


async def carry(source: Tap, target: Tap) -> None:
    while True:
        target.send(await source.receive())


@pytest.mark.root
async def test_real_programs_speak_through_two_taps(joined: tuple[Site, Tap, Tap]) -> None:
    made, user, wire = joined
    carrying = [asyncio.ensure_future(carry(user, wire)), asyncio.ensure_future(carry(wire, user))]
    page = await asyncio.to_thread(made.user.run, "curl", "-s", "--max-time", "10", "http://www.example.com/")
    ping = await asyncio.to_thread(made.user.run, "ping", "-c", "1", "-s", "4000", "2001:db8:b::10")
    for each in carrying:
        each.cancel()
    await asyncio.gather(*carrying, return_exceptions=True)
    assert page.encode() == LINE
    assert "1 received" in ping


@pytest.mark.root
def test_what_an_interface_that_is_down_does_not_take_is_counted(name: str) -> None:
    with Tap(name) as tap:
        assert (tap.send(BROADCAST), tap.lost, tap.receive_now()) == (False, 1, None)


@pytest.mark.root
def test_closing_twice_does_nothing(name: str) -> None:
    tap = Tap(name)
    tap.close()
    tap.close()


@pytest.mark.root
def test_a_tap_that_is_open_already_is_refused(name: str) -> None:
    with Tap(name), pytest.raises(PlatformUnable) as caught:
        Tap(name)
    assert caught.value.message == f"the tap {name} is already open in another program"


@pytest.mark.root
def test_the_name_of_another_kind_of_interface_is_refused(name: str) -> None:
    assert name
    with pytest.raises(PlatformUnable) as caught:
        Tap("lo")
    assert caught.value.message == "lo must be a tap, but an interface of another kind has that name"


@pytest.mark.parametrize("wrong", ["", "a name", "a/b", "sixteen-letters-", "a\tb", "a:b"])
def test_a_name_that_no_interface_can_have_is_refused(wrong: str) -> None:
    with pytest.raises(PlatformUnable) as caught:
        Tap(wrong)
    assert caught.value.message == (
        f"a tap interface's name must be 1 to 15 bytes without spaces, '/' and ':', not {wrong!r}"
    )


def test_a_host_without_the_device_is_refused(tmp_path: Path) -> None:
    device = tmp_path / "tun"
    with pytest.raises(PlatformUnable) as caught:
        Tap("vafw-u0", device=device)
    assert caught.value.message == f"a tap needs {device}, which this host does not have"


def test_a_device_that_is_no_tap_driver_is_refused(tmp_path: Path) -> None:
    device = tmp_path / "tun"
    device.touch()
    with pytest.raises(PlatformUnable) as caught:
        Tap("vafw-u0", device=device)
    assert caught.value.message == f"{device} does not make taps: Inappropriate ioctl for device"


def test_a_device_that_may_not_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformUnable) as caught:
        Tap("vafw-u0", device=tmp_path)
    assert caught.value.message == f"a tap needs {tmp_path}, which cannot be opened: Is a directory"
    assert Path("/dev/net/tun") == DEVICE
