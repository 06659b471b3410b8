"""The commands of docs/qemu.md, in their order: measured, up, reconfigured while it is up, pictured, down."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.running import running
from tests.conftest import ROOT, Vafw
from tests.contract.benches import require_qemu
from vafw.errors import ExitCode

PAGE = (ROOT / "docs" / "qemu.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^vafw (.*)$", PAGE, re.MULTILINE)


def test_every_command_of_the_page_does_what_it_says(
    vafw: Vafw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_qemu()
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    measure, up, *others = (shlex.split(each.replace("/tmp/", f"{tmp_path}/")) for each in COMMANDS)
    assert (vafw(*measure).code, up[0]) == (ExitCode.DONE, "up")
    with running(tmp_path / up.pop(), tmp_path / "run", *up[1:]) as machine:
        codes = [(each[0], vafw(*each).code) for each in others]
        code, _ = machine.end()
    assert codes == [(name, ExitCode.DONE) for name in ("config", "config", "capture", "down")]
    assert code == ExitCode.DONE
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
