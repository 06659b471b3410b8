"""Logs that firmware and a kernel nobody here wrote left behind, held against the PCRs of their TPM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vafw.attest.logs.model import LogKind
from vafw.attest.logs.read import read_log
from vafw.tcg import SHA1, SHA256
from vafw.tcg.algorithms import SHA384, SHA512
from vafw.wire import FormatError

RECORDED = Path(__file__).parent / "recorded"
OVMF = (RECORDED / "ovmf.bin").read_bytes()
IMA = (RECORDED / "ima.bin").read_bytes()
PCRS = {
    bank: {int(pcr): bytes.fromhex(value) for pcr, value in values.items()}
    for bank, values in json.loads((RECORDED / "pcrs.json").read_text()).items()
}


@pytest.mark.parametrize(("bank", "name"), [(SHA256, "sha256"), (SHA1, "sha1")])
def test_both_logs_together_replay_to_what_the_tpm_held(bank: int, name: str) -> None:
    replayed = read_log(OVMF).replayed()[bank] | read_log(IMA).replayed()[bank]
    assert replayed == {pcr: PCRS[name][pcr] for pcr in replayed}
    assert sorted(replayed) == [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]


def test_the_firmwares_log_tells_no_lie_and_says_what_it_measured() -> None:
    log = read_log(OVMF)
    assert (log.kind, log.algorithms, log.lies) == (LogKind.FIRMWARE, (SHA1, SHA256, SHA384, SHA512), ())
    said = [entry.description.summary for entry in log.entries]
    assert said[3:6] == ["SecureBoot: off", "PK: not set", "KEK: not set"]
    assert said[10:13] == [
        "BootOrder: Boot0000",
        "Boot0000: UiApp, Fv(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)",
        "Calling EFI Application from Boot Option",
    ]
    assert said[20:22] == ["LOADED_IMAGE::LoadOptions", "Linux initrd"]


def test_the_kernels_list_begins_with_the_aggregate_of_the_boot() -> None:
    log = read_log(IMA)
    assert (log.kind, log.lies) == (LogKind.IMA, ())
    assert log.entries[0].description.fields["name"] == "boot_aggregate"


def test_a_changed_byte_shows_in_the_values_or_as_a_lie_unless_no_digest_covers_it() -> None:
    truth = read_log(OVMF)
    unseen = 0
    for at in range(0, len(OVMF), 7):
        changed = OVMF[:at] + bytes((OVMF[at] ^ 1,)) + OVMF[at + 1 :]
        try:
            log = read_log(changed)
        except FormatError:
            continue
        unseen += log.replayed() == truth.replayed() and not log.lies
    assert unseen == 48  # in blobs, load options and device paths, whose digests are of what they point to


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_log_whose_tail_was_cut_within_an_event_is_refused(cut: int) -> None:
    with pytest.raises(FormatError, match=r" must have \d+ bytes, and \d+ are left$"):
        read_log(OVMF[:-cut])


@pytest.mark.parametrize("noise", [b"\0", b"\0" * 7, b"\xff" * 30])
def test_a_log_with_bytes_behind_its_end_is_refused(noise: bytes) -> None:
    with pytest.raises(FormatError):
        read_log(OVMF + noise)
    with pytest.raises(FormatError):
        read_log(IMA + noise)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(FormatError, match=r"^log: it must hold something, and is empty$"):
        read_log(b"")
