"""The guest's end of its channel, when nobody is at the other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vafw.provider.qemu.guest.channel import HUNG_UP_PAUSE_S, HUNG_UP_PAUSES, Channel


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """What reads as a port does that nobody holds: at once, and nothing."""
    path = tmp_path / "port"
    path.touch()
    return path


def test_a_guest_whose_platform_is_gone_pauses_before_it_looks_again_and_ends_after_a_while(port: Path) -> None:
    pauses: list[float] = []
    channel = Channel(os.open(port, os.O_RDWR), pauses.append)
    for _ in range(HUNG_UP_PAUSES):
        assert channel.receive() == []
    with pytest.raises(EOFError, match="the other end hung up and did not come back"):
        channel.receive()
    channel.close()
    assert pauses == [HUNG_UP_PAUSE_S] * HUNG_UP_PAUSES


def test_a_platform_that_came_back_is_served_and_has_its_whole_while_again(port: Path) -> None:
    pauses: list[float] = []
    channel = Channel(os.open(port, os.O_RDWR), pauses.append)
    for again in (1, 2):
        for _ in range(HUNG_UP_PAUSES):
            assert channel.receive() == []
        with port.open("ab") as platform:
            platform.write(b'{"id": 1, "do": "probe"}\n')
        assert channel.receive() == [{"id": 1, "do": "probe"}]
        assert len(pauses) == again * HUNG_UP_PAUSES
    os.close(channel.fileno())
