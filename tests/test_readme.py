"""What the README shows is executed: every command, every refusal, every path that it names."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.running import PATIENCE_S, running
from tests.conftest import ROOT, Finished, Vafw
from tests.contract.benches import require_qemu

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [[line for line in block.splitlines() if line] for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)]
SHELL = [line for block in BLOCKS for line in block]
ON_QEMU = [line for line in SHELL if line.startswith("vafw ") and "--platform qemu" in line]
(WHILE_UP,) = (block for block in BLOCKS if block[0].endswith(" &"))
"""The block whose first command stays up while a person gives the others."""
VAFW = [line for line in SHELL if line.startswith("vafw ") and line not in ON_QEMU + WHILE_UP]
MAKE = [line for line in SHELL if line.startswith("make ")]
EXPECTED_CODE = re.compile(r"# exit code (\d+)")


def block_after(comment: str) -> str:
    found = re.search(rf"<!-- {re.escape(comment)} -->\n```text\n(.*?)```", README, re.DOTALL)
    assert found, comment
    return found[1]


def test_every_command_of_the_readme_is_known() -> None:
    assert sorted(VAFW + ON_QEMU + WHILE_UP + MAKE) == sorted(SHELL)
    assert {line.split()[0] for line in WHILE_UP} == {"vafw"}


def test_every_vafw_command_of_the_readme_does_what_it_says(vafw: Vafw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    codes = {line: vafw(*shlex.split(line, comments=True)[1:]).code for line in VAFW}
    assert codes == {line: int((EXPECTED_CODE.findall(line) or ["0"])[0]) for line in VAFW}


def test_every_command_of_the_readme_for_a_running_machine_does_what_it_says(
    vafw: Vafw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    up, *others = (shlex.split(line.removesuffix("&"), comments=True)[1:] for line in WHILE_UP)
    with running(Path(up[1]), tmp_path / "run") as machine:
        said = {" ".join(words[:2]): (shown if words[0] == "tui" else vafw)(*words) for words in others}
        code, _ = machine.end()
    assert {command: done.code for command, done in said.items()} == dict.fromkeys(said, 0)
    assert code == 0
    assert said["config get"].out == "[https, quic]\n"
    assert "firewall: generation 3, in sync\n" in said["config rollback"].out
    assert "healthy" in said[f"tui {up[1]}"].out


def shown(*words: str) -> Finished:
    """`vafw tui` in a terminal of its own, until its first picture of the running machine is there; then it is quit."""
    command = [sys.executable, "-m", "vafw", *words]
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, 120))
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        try:
            frame = read_until(leader, b"healthy")
            os.write(leader, b"q")
            frame += read_until(leader, None)
            return Finished(process.wait(PATIENCE_S), frame.decode(errors="replace"), "")
        finally:
            process.kill()
            os.close(leader)


def read_until(terminal: int, word: bytes | None) -> bytes:
    """What a terminal is sent up to a word, or until nobody writes to it any more."""
    read, until_s = b"", time.monotonic() + PATIENCE_S
    while word is None or word not in read:
        ready, _, _ = select.select([terminal], [], [], until_s - time.monotonic())
        assert ready, read[-2000:]
        try:
            read += os.read(terminal, 1 << 16)
        except OSError:  # nobody has the other end any more: that is how a terminal ends on Linux
            break
    return read


def test_every_command_of_the_readme_for_real_vms_does_what_it_says(
    vafw: Vafw, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require_qemu()
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    assert [(line, vafw(*shlex.split(line)[1:]).code) for line in ON_QEMU] == [(line, 0) for line in ON_QEMU]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_up_runs_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAFW_RUN_DIR", str(tmp_path))
    done = subprocess.run(["make", "-C", ROOT, "up"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "Gate open" in done.stdout) == (0, True), done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()
    dry = subprocess.run(["make", "-n", "-C", ROOT, "test"], capture_output=True, text=True, check=True).stdout
    assert all(program in dry for program in ("ruff check", "mypy", "lint-imports", "pytest"))


def test_the_refused_topology_of_the_readme_is_refused_in_these_words(vafw: Vafw, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies" / "office-laptop", tmp_path / "office-laptop")
    topology = tmp_path / "office-laptop" / "topology.yaml"
    topology.write_text(topology.read_text().replace("assign: [display]", "assign: [display, nic]"))
    said = vafw("check", topology).err.replace(f"{topology.parent}/", "")
    assert said == block_after("refusal: policies/office-laptop with `assign: [display, nic]`")


def test_the_closed_gate_of_the_readme_says_these_words(vafw: Vafw, office: Path) -> None:
    said = vafw("up", office, "--tamper", "appliance=firewall", "--until-idle").out
    shown = block_after("refusal: --tamper appliance=firewall")
    digests = re.compile(r"[0-9a-f]{64}")
    assert digests.sub("…", shown).strip() in digests.sub("…", said)


def test_every_path_that_the_readme_names_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    tests = re.findall(r"`(tests/[\w/.]+)`", README)
    assert [path for path in links + tests if not (ROOT / path).exists()] == []
