"""The page on attestation does what it says, command by command, with the exit codes that it names."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, Vafw

PAGE = (ROOT / "docs" / "attestation.md").read_text(encoding="utf-8")


def commands() -> list[tuple[str, int]]:
    """Each command of the page, and the exit code that it must have."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    return [
        (line.split("   #")[0].strip(), int((re.findall(r"# exit code (\d+)", line) or ["0"])[0])) for line in lines
    ]


def test_every_command_of_the_page_ends_as_it_says(tmp_path: Path, vafw: Vafw, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    shutil.copytree(ROOT / "tests" / "attest" / "logs", tmp_path / "tests" / "attest" / "logs")
    for name in ("run", "state"):
        monkeypatch.setenv(f"VAFW_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    assert vafw("measure", "policies/office-laptop", "--write").code == 0
    ended = [(line, int(vafw(*shlex.split(line.removeprefix("vafw "))).code)) for line, _ in commands()]
    assert ended == commands()
    assert len(ended) >= 12
