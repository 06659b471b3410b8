"""tpm2_eventlog, which nobody here wrote, replays what we replay; and a log that it refuses we do not take as true.

Known differences, all by design: it extends HASH_START, takes no event of PCR 255, and knows of startup localities only
from its version 5.5 on; so logs here are of firmware that started at locality 0.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.attest.logs.test_recorded import OVMF
from vafw.attest.logs.read import read_log
from vafw.tcg import SHA1, SHA256, Event, EventType, encode_log
from vafw.tcg.algorithms import SHA384, digest
from vafw.wire import FormatError

pytestmark = pytest.mark.skipif(
    shutil.which("tpm2_eventlog") is None, reason="not installed: tpm2_eventlog (Debian package tpm2-tools)"
)
BANKS = {"sha1": SHA1, "sha256": SHA256, "sha384": SHA384}


def theirs(log: bytes, folder: Path) -> dict[int, dict[int, bytes]] | None:
    """What tpm2_eventlog replays to; None where it refuses the log."""
    path = folder / "log.bin"
    path.write_bytes(log)
    done = subprocess.run(["tpm2_eventlog", path], check=False, capture_output=True, text=True, errors="replace")
    if done.returncode or "\npcrs:\n" not in done.stdout:
        return None
    sections = re.split(r"^  (\w+):\n", done.stdout.rsplit("\npcrs:\n", 1)[1], flags=re.MULTILINE)[1:]
    return {
        BANKS[name]: {int(pcr): bytes.fromhex(value) for pcr, value in re.findall(r"(\d+) +: 0x([0-9a-f]+)", values)}
        for name, values in zip(sections[::2], sections[1::2], strict=True)
        if name in BANKS
    }


def ours(log: bytes) -> dict[int, dict[int, bytes]]:
    return {bank: values for bank, values in read_log(log).replayed().items() if bank in BANKS.values()}


def test_the_recorded_log_of_a_firmware_replays_alike(tmp_path: Path) -> None:
    assert theirs(OVMF, tmp_path) == ours(OVMF)


def drawn(seed: int) -> bytes:
    """A log of firmware with random events, whose data is always of its type's form."""
    draw = random.Random(seed)
    banks = draw.sample(sorted(BANKS.values()), k=draw.randint(1, 3))
    events = []
    for _ in range(draw.randint(1, 12)):
        event_type = draw.choice(
            [EventType.EV_SEPARATOR, EventType.EV_EFI_ACTION, EventType.EV_POST_CODE, EventType.EV_IPL]
        )
        data = (
            bytes(4) if event_type == EventType.EV_SEPARATOR else bytes(draw.choices(b"abc /.", k=draw.randint(1, 30)))
        )
        digests = {bank: digest(bank, data) for bank in banks}
        events.append(Event(draw.randint(0, 15), event_type, digests, data))
    return encode_log(events, banks)


@pytest.mark.parametrize("seed", range(12))
def test_logs_that_we_write_replay_alike(seed: int, tmp_path: Path) -> None:
    log = drawn(seed)
    assert theirs(log, tmp_path) == ours(log)


@pytest.mark.parametrize("seed", range(24))
def test_of_a_damaged_log_both_say_the_same_or_we_refuse(seed: int, tmp_path: Path) -> None:
    draw, log = random.Random(seed), bytearray(drawn(seed % 6) if seed % 2 else OVMF)
    for _ in range(draw.randint(1, 2)):
        log[draw.randrange(70, len(log))] ^= 1 << draw.randrange(8)
    try:
        found = ours(bytes(log))
    except FormatError:
        return
    assert theirs(bytes(log), tmp_path) in (None, found)


@pytest.mark.parametrize("cut", [1, 5, 33, 60])
def test_a_log_that_was_cut_is_refused_by_both(cut: int, tmp_path: Path) -> None:
    assert theirs(OVMF[:-cut], tmp_path) is None
    with pytest.raises(FormatError):
        read_log(OVMF[:-cut])
