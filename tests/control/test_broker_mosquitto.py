from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.control.subjects import LAB
from vafw.clock import SystemClock
from vafw.control.broker_mosquitto import BrokerFailed, MosquittoBroker, Settings, command, configuration, installed
from vafw.control.bus import BusLost

GOLDEN = Path(__file__).parent / "golden"
needs_mosquitto = pytest.mark.skipif(installed() is None, reason="mosquitto is not installed on this host")


def test_the_configuration_is_what_it_was() -> None:
    settings = Settings(Path("/run/vafw/office-laptop/broker"), 18883, "vafw")
    assert configuration(settings) == (GOLDEN / "mosquitto.conf").read_text()


def test_the_child_dies_with_whoever_started_it() -> None:
    program, config = Path("/usr/sbin/mosquitto"), Path("/x/mosquitto.conf")
    plain = ["/usr/sbin/mosquitto", "-c", "/x/mosquitto.conf"]
    assert command(program, config, None) == plain
    assert command(program, config, Path("/usr/bin/setpriv")) == ["/usr/bin/setpriv", "--pdeathsig", "KILL", *plain]


def modes(folder: Path) -> set[int]:
    """The permissions of every file below a folder."""
    return {each.stat().st_mode & 0o777 for each in folder.rglob("*") if each.is_file()}


@needs_mosquitto
async def test_what_the_broker_needs_is_its_owners_alone(tmp_path: Path) -> None:
    async with MosquittoBroker.run(LAB, tmp_path / "broker", SystemClock()) as broker:
        broker.line("firewall")
        assert modes(tmp_path / "broker") == {0o600}
        assert broker.folder.stat().st_mode & 0o777 == 0o700


@needs_mosquitto
async def test_a_refused_certificate_is_told_as_such(tmp_path: Path) -> None:
    async with MosquittoBroker.run(LAB, tmp_path / "broker", SystemClock()) as broker:
        with pytest.raises(BusLost, match=r"^the broker at port \d+ was lost: .*CERTIFICATE_REQUIRED"):
            async with broker.line_with("firewall", None, patience_s=0.5).connect():
                pytest.fail("it must not be connected")


async def test_a_broker_that_ends_at_its_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    await asyncio.to_thread(write_program, program)
    broker = MosquittoBroker(LAB, tmp_path / "broker", program, SystemClock(), lambda _kind, _text: None)
    with pytest.raises(BrokerFailed, match=r"^mosquitto ended at its start: Error: Address already in use$"):
        await broker._start()


def write_program(path: Path) -> None:
    path.write_text("#!/bin/sh\necho 'Error: Address already in use' >&2\nexit 1\n")
    path.chmod(0o700)
