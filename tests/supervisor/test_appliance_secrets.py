"""An appliance's secret is made once, is its owner's alone, and is refused when it is not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vafw.errors import PlatformUnable
from vafw.supervisor.appliance_secrets import ApplianceSecrets


def test_it_is_the_same_each_time_and_another_for_each_appliance(tmp_path: Path) -> None:
    first = ApplianceSecrets(tmp_path / "secrets").of("vpn")
    again = ApplianceSecrets(tmp_path / "secrets")
    assert again.of("vpn") == first
    assert again.of("proxy") != first
    assert len(first) == 32


def test_only_its_owner_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ApplianceSecrets(tmp_path / "secrets").of("vpn")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "secrets" / "vpn").stat().st_mode) == 0o600
    assert [each.name for each in (tmp_path / "secrets").iterdir()] == ["vpn"], "nothing is left beside it"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_one_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    secrets = ApplianceSecrets(tmp_path)
    secrets.of("vpn")
    (tmp_path / "vpn").chmod(mode)
    with pytest.raises(PlatformUnable) as refused:
        secrets.of("vpn")
    assert refused.value.message == (
        f"{tmp_path}/vpn: a secret must be its owner's alone, and this file can be read or written by others"
    )


@pytest.mark.parametrize(("data", "count"), [(b"", 0), (bytes(31), 31), (bytes(64), 33)])
def test_one_that_is_not_whole_is_refused(tmp_path: Path, data: bytes, count: int) -> None:
    path = tmp_path / "vpn"
    path.touch(mode=0o600)
    path.write_bytes(data)
    with pytest.raises(PlatformUnable) as refused:
        ApplianceSecrets(tmp_path).of("vpn")
    assert refused.value.message == f"{path}: a secret must be 32 bytes, and this file holds {count}"


def test_a_link_to_somewhere_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(32))
    (tmp_path / "vpn").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlatformUnable, match="the secret of vpn cannot be kept"):
        ApplianceSecrets(tmp_path).of("vpn")


def test_a_folder_that_cannot_be_made_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlatformUnable, match="the secret of vpn cannot be kept: Not a directory"):
        ApplianceSecrets(tmp_path / "file" / "secrets").of("vpn")
