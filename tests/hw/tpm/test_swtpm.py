"""The modelled TPM against swtpm: same signals, same commands, same values and response codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hw.tpm.swtpm import Swtpm, needs_swtpm, running
from vafw.hw.tpm import StartupType, Tpm, TpmError
from vafw.tcg import SHA1, SHA256

pytestmark = needs_swtpm

BANKS = (SHA256, SHA1)
DIGESTS = {SHA256: b"\x11" * 32, SHA1: b"\x22" * 20}


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Swtpm]:
    with running(tmp_path) as swtpm:
        yield swtpm


@pytest.fixture
def ours() -> Tpm:
    return Tpm(BANKS, lambda length: bytes(range(length)))


def values(tpm: Tpm | Swtpm) -> list[bytes]:
    return [tpm.read(pcr, bank) for bank in BANKS for pcr in range(24)]


def refusal(tpm: Tpm, command: str, pcr: int, locality: int) -> int:
    try:
        if command == "extend":
            tpm.extend(pcr, DIGESTS, locality)
        else:
            tpm.reset(pcr, locality)
    except TpmError as error:
        return error.rc
    return 0


def test_every_pcr_has_the_same_value_after_startup(ours: Tpm, real: Swtpm) -> None:
    ours.startup()
    real.startup()
    assert values(ours) == values(real)


def test_the_hash_sequence_gives_the_same_pcrs_in_every_bank(ours: Tpm, real: Swtpm) -> None:
    ours.startup()
    real.startup()
    real.hash_sequence(b"SINIT-AND-MLE")
    ours.hash_start()
    ours.hash_data(b"SINIT-")
    ours.hash_data(b"AND-MLE")
    ours.hash_end()
    assert values(ours) == values(real)
    assert (ours.clock_info.reset_count, ours.clock_info.restart_count) == real.clock()


def test_a_hash_sequence_before_startup_is_the_same_h_crtm(ours: Tpm, real: Swtpm) -> None:
    real.hash_sequence(b"BIOS ACM")
    ours.hash_start()
    ours.hash_data(b"BIOS ACM")
    ours.hash_end()
    assert ours.tpm_established == real.established()
    ours.startup()
    real.startup()
    assert values(ours) == values(real)


@pytest.mark.parametrize("command", ["extend", "reset"])
def test_every_locality_and_pcr_is_allowed_and_refused_alike(ours: Tpm, real: Swtpm, command: str) -> None:
    ours.startup()
    real.startup()
    asked = [(pcr, locality) for pcr in range(24) for locality in range(5)]
    theirs = [
        real.extend(pcr, DIGESTS, locality) if command == "extend" else real.reset(pcr, locality)
        for pcr, locality in asked
    ]
    assert [refusal(ours, command, pcr, locality) for pcr, locality in asked] == theirs
    assert values(ours) == values(real)
    assert set(theirs) == {0, 0x907}


def test_a_resume_keeps_the_same_pcrs_and_counts(ours: Tpm, real: Swtpm) -> None:
    ours.startup()
    real.startup()
    for pcr, locality in ((0, 0), (10, 0), (16, 0), (17, 2), (19, 2), (23, 0)):
        ours.extend(pcr, DIGESTS, locality)
        real.extend(pcr, DIGESTS, locality)
    ours.shutdown(StartupType.STATE)
    real.shutdown(1)
    ours.power_cycle()
    real.power_cycle()
    ours.startup(StartupType.STATE)
    assert real.startup(1) == 0
    assert values(ours) == values(real)
    assert (ours.clock_info.reset_count, ours.clock_info.restart_count) == real.clock()


def test_a_restart_and_a_reset_count_alike(ours: Tpm, real: Swtpm) -> None:
    ours.startup()
    real.startup()
    ours.shutdown(StartupType.STATE)
    real.shutdown(1)
    ours.power_cycle()
    real.power_cycle()
    ours.startup()
    real.startup()
    assert (ours.clock_info.reset_count, ours.clock_info.restart_count) == real.clock() == (1, 1)
    ours.power_cycle()
    real.power_cycle()
    ours.startup()
    real.startup()
    assert (ours.clock_info.reset_count, ours.clock_info.restart_count) == real.clock() == (2, 0)


def test_a_resume_without_saved_state_is_refused_alike(ours: Tpm, real: Swtpm) -> None:
    ours.startup()
    real.startup()
    ours.shutdown(StartupType.STATE)
    real.shutdown(1)
    ours.extend(3, DIGESTS, 0)
    real.extend(3, DIGESTS, 0)
    ours.power_cycle()
    real.power_cycle()
    with pytest.raises(TpmError) as refused:
        ours.startup(StartupType.STATE)
    assert refused.value.rc == real.startup(1) == 0x1C4


def test_commands_before_startup_and_of_no_pcr_are_refused_alike(ours: Tpm, real: Swtpm) -> None:
    assert refusal(ours, "extend", 10, 0) == real.extend(10, DIGESTS, 0) == 0x100
    ours.startup()
    real.startup()
    assert refusal(ours, "extend", 24, 0) == real.extend(24, DIGESTS, 0) == 0x184
    with pytest.raises(TpmError) as refused:
        ours.extend(10, {0x12: bytes(32)}, 0)
    assert refused.value.rc == real.extend(10, {0x12: bytes(32)}, 0) == 0x1C3
    with pytest.raises(TpmError) as again:
        ours.startup()
    assert again.value.rc == real.startup() == 0x100


def test_established_survives_a_power_cycle_until_locality_3_clears_it(ours: Tpm, real: Swtpm) -> None:
    ours.startup()
    real.startup()
    ours.hash_start()
    ours.hash_end()
    real.hash_sequence(b"")
    ours.power_cycle()
    real.power_cycle()
    assert ours.tpm_established is real.established() is True
    with pytest.raises(TpmError):
        ours.clear_established(0)
    assert real.clear_established(0) == 0x3D
    ours.clear_established(3)
    assert real.clear_established(3) == 0
    assert ours.tpm_established is real.established() is False
