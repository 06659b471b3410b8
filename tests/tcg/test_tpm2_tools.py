"""Our logs, quotes and signatures through the tools of tpm2-tools, which nobody here wrote.

Two things tpm2_eventlog does otherwise, by design of TXT and not of ours: it knows no event of PCR 255 (the mapping
event of every TXT log, left out below), and it extends HASH_START where the digest is the value: its PCR 17 is wrong.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.attest.launched import BANKS, Machine, launched
from vafw.tcg import LAUNCH_PCRS, LAUNCH_SELECTION, SHA1, SHA256, Event, encode_log, replay

TOOLS = ("tpm2_eventlog", "tpm2_checkquote", "tpm2_print")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian package tpm2-tools)"
)

NONCE = bytes(range(32))


@pytest.fixture(scope="module")
def machine() -> Machine:
    return launched()


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture
def log(machine: Machine, tmp_path: Path) -> Path:
    path = tmp_path / "log.bin"
    path.write_bytes(encode_log(machine.events[1:], BANKS))
    return path


def registers(printed: str, bank: str) -> dict[int, bytes]:
    """The PCR values that tpm2_eventlog prints for one bank."""
    section = printed.split(f"\n  {bank}:\n", 1)[1].split("\n  sha", 1)[0]
    return {int(pcr): bytes.fromhex(value) for pcr, value in re.findall(r"^ +(\d+) +: 0x([0-9a-f]+)$", section, re.M)}


@pytest.mark.parametrize(("bank", "algorithm"), [("sha256", SHA256), ("sha1", SHA1)])
def test_tpm2_eventlog_replays_our_log_to_the_same_values(
    machine: Machine, log: Path, bank: str, algorithm: int
) -> None:
    printed = run("tpm2_eventlog", log)
    assert printed.returncode == 0
    theirs, ours = registers(printed.stdout, bank), replay(machine.events)[algorithm]
    assert {pcr: theirs[pcr] for pcr in (18, 19)} == {pcr: ours[pcr] for pcr in (18, 19)}
    start = machine.events[1].digests[algorithm]
    extended = [Event(16, event.event_type, event.digests) for event in of(machine, 17)]
    assert replay([Event(16, 0x4AA, {algorithm: start}), *extended])[algorithm][16] == theirs[17] != ours[17]
    assert {pcr: machine.tpm.read(pcr, algorithm) for pcr in LAUNCH_PCRS} == ours


def test_tpm2_eventlog_reads_every_event_of_our_log(machine: Machine, log: Path) -> None:
    printed = run("tpm2_eventlog", log).stdout
    assert [int(pcr) for pcr in re.findall(r"^ +PCRIndex: (\d+)$", printed, re.M)] == [
        0, *(event.pcr for event in machine.events[1:])
    ]  # fmt: skip


def of(machine: Machine, pcr: int) -> list[Event]:
    """The events of one register after the first."""
    return [event for event in machine.events if event.pcr == pcr][1:]


def quoted(machine: Machine, folder: Path) -> list[str | Path]:
    """The files of one quote, and the command that checks them."""
    attest, signature = machine.tpm.quote(NONCE, LAUNCH_SELECTION)
    pem = machine.tpm.ak_public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    values = b"".join(machine.tpm.read(pcr, bank) for bank in (SHA256, SHA1) for pcr in LAUNCH_PCRS)
    files = {"ak.pem": pem, "quote.msg": attest, "quote.sig": signature, "quote.pcrs": values}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [
        "tpm2_checkquote", "-u", folder / "ak.pem", "-m", folder / "quote.msg", "-s", folder / "quote.sig",
        "-f", folder / "quote.pcrs", "-l", "sha256:17,18,19+sha1:17,18,19", "-g", "sha256", "-q", NONCE.hex(),
    ]  # fmt: skip


def test_tpm2_checkquote_accepts_our_quote(machine: Machine, tmp_path: Path) -> None:
    checked = run(*quoted(machine, tmp_path))
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", ["quote.msg", "quote.sig", "quote.pcrs"])
def test_tpm2_checkquote_refuses_our_quote_with_a_bit_flipped(machine: Machine, tmp_path: Path, name: str) -> None:
    command = quoted(machine, tmp_path)
    damaged = bytearray((tmp_path / name).read_bytes())
    damaged[-1] ^= 1
    (tmp_path / name).write_bytes(damaged)
    assert run(*command).returncode == 1


def test_tpm2_print_decodes_our_quote(machine: Machine, tmp_path: Path) -> None:
    attest, _ = machine.tpm.quote(NONCE, LAUNCH_SELECTION)
    (tmp_path / "quote.msg").write_bytes(attest)
    printed = run("tpm2_print", "-t", "TPMS_ATTEST", tmp_path / "quote.msg")
    assert printed.returncode == 0
    for line in (
        "magic: ff544347",
        "type: 8018",
        f"qualifiedSigner: {machine.tpm.ak_qualified_name.hex()}",
        f"extraData: {NONCE.hex()}",
        "resetCount: 1",
        "restartCount: 1",
        "safe: 1",
        "hash: 11 (sha256)",
        "hash: 4 (sha1)",
        "pcrSelect: 00000e",
    ):
        assert line in printed.stdout
