"""`vafw attest log`: what it prints of a log, and which exit code a lie has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.attest.logs.test_recorded import OVMF, PCRS, RECORDED
from tests.conftest import Vafw
from vafw.errors import ExitCode

LOG = RECORDED / "ovmf.bin"


def test_a_true_log_is_printed_event_by_event(vafw: Vafw) -> None:
    done = vafw("attest", "log", LOG, "--pcr", f"7={PCRS['sha256'][7].hex()}", "--pcr", f"0={PCRS['sha1'][0].hex()}")
    assert (done.code, done.err) == (ExitCode.DONE, "")
    assert "4    7     EV_EFI_VARIABLE_DRIVER_CONFIG      115aa827dbcc…   SecureBoot: off\n" in done.out
    assert f"\n0     {PCRS['sha256'][0].hex()}\n" in done.out
    assert done.out.endswith("\n24 events, firmware, no lie\n")


@pytest.mark.parametrize(
    ("reported", "problem"),
    [
        ("17=" + "ff" * 32, "PCR 17 (SHA-256): the log never extends it, and a value is reported"),
        ("2=" + "00" * 32, f"PCR 2 (SHA-256): the log gives {PCRS['sha256'][2].hex()}, not {'00' * 32}"),
    ],
)
def test_a_value_that_the_log_does_not_give_is_refused(vafw: Vafw, reported: str, problem: str) -> None:
    done = vafw("attest", "log", LOG, "--pcr", reported, "--json")
    assert done.code == ExitCode.REFUSED
    assert json.loads(done.out)["data"]["problems"] == [problem]


def test_a_lie_is_named_and_refused(vafw: Vafw, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(OVMF.replace(b"Calling EFI", b"Calling EFI".lower()))
    done = vafw("attest", "log", tmp_path / "log")
    assert done.code == ExitCode.REFUSED
    assert "✗ event #13 EV_EFI_ACTION: the SHA-1 and SHA-256 and SHA-384 and SHA-512 digest is not that" in done.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--heap-base", "here"), ExitCode.USAGE),
        (("--pcr", "x=00"), ExitCode.USAGE),
        (("--pcr", "1=00"), ExitCode.USAGE),
    ],
)
def test_an_option_that_says_nothing_is_refused(vafw: Vafw, arguments: tuple[str, ...], code: ExitCode) -> None:
    assert vafw("attest", "log", LOG, *arguments).code == code


def test_a_file_that_is_no_log_is_refused_with_its_byte(vafw: Vafw, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(OVMF[:-3])
    done = vafw("attest", "log", tmp_path / "log")
    assert done.code == ExitCode.INVALID_DOCUMENT
    assert f"{tmp_path}/log: event log, byte 5216: an event's data must have 40 bytes, and 37 are left" in done.err
