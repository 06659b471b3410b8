"""The documentation is executed, and its reference pages are what the code says.

The tutorial runs as one shell script: block after block, in a copy of the project's policies, each command with the
exit code that its comment names.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.captures.namespaces import missing
from tests.conftest import ROOT, Finished

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
ASKING = (ROOT / "docs" / "asking-and-proving.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>[a-z]+)(?P<root> root)?\n(?P<text>.*?)```", re.DOTALL
)
LIMIT_S = 150
GRACE_S = 5
LATE = 124
"""The exit code of a script that was not done in time, as timeout(1) has it."""
NAMESPACES = ("vafw-net", "vafw-desk")
TAPS = ("vafw-w", "vafw-u")
EXPECTED_CODE = re.compile(r"# exit code (\d+)")


@dataclass(frozen=True)
class Block:
    """One fenced block of the tutorial."""

    file: str | None
    root: bool
    text: str

    def commands(self) -> list[str]:
        """The lines of a shell block, but for `make`, which other tests run."""
        return [line for line in self.text.splitlines() if line and not line.startswith("make ")]


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer(page):
        if found["file"] or found["language"] == "sh":
            yield Block(found["file"], bool(found["root"]), found["text"])


def script(page: str = TUTORIAL, *, root: bool) -> str:
    """A page as a program of bash that ends at the first command whose exit code is another than it says."""
    lines = [f'vafw() {{ "{sys.executable}" -m vafw "$@"; }}', "set -u"]
    for block in blocks(page):
        if block.file:
            lines += [f"mkdir -p {Path(block.file).parent}", f"cat > {block.file} <<'END'\n{block.text}END"]
        elif root or not block.root:
            for command in block.commands():
                code = (EXPECTED_CODE.findall(command) or ["0"])[0]
                told = f'echo "ended with $code: "{command.split("#")[0].strip()!r} >&2'
                lines += [command, f"code=$?; [ $code = {code} ] || {{ {told}; exit 99; }}"]
    return "\n".join(lines)


def own_names(text: str) -> str:
    """The tutorial with names of namespaces and taps that no other run of it uses."""
    for name in (*NAMESPACES, *TAPS):
        text = re.sub(rf"\b{name}\b(?!-)", f"{name}{os.getpid()}", text)
    return text


def start(folder: Path) -> Path:
    """Put what a page starts from into `folder`, measured as it is now."""
    shutil.copytree(ROOT / "policies", folder / "policies")
    command = [sys.executable, "-m", "vafw", "measure", str(folder / "policies" / "office-laptop"), "--write"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@dataclass(frozen=True)
class Played:
    """The tutorial, run to its end."""

    folder: Path
    done: Finished
    why_not_root: str
    """Why what needs root was left out; empty where it was not."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The tutorial, played once."""
    folder, why = start(tmp_path_factory.mktemp("tutorial")), missing()
    try:
        done = run(own_names(script(root=not why)), folder)
    finally:  # what a tutorial that stopped half-way leaves behind
        for name in () if why else NAMESPACES:
            subprocess.run(["ip", "netns", "delete", own_names(name)], capture_output=True, check=False)
    return Played(folder, done, why)


def run(text: str, folder: Path) -> Finished:
    """The script to its end; what it left running in the background is ended then, whichever end that was."""
    environment = {**os.environ, "VAFW_RUN_DIR": str(folder / "run")}
    out, err = folder / "out.txt", folder / "err.txt"  # a pipe would be held open by what runs in the background
    with out.open("w") as its_out, err.open("w") as its_err:
        process = subprocess.Popen(
            ["bash", "-c", text], cwd=folder, env=environment, stdout=its_out, stderr=its_err, start_new_session=True
        )
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            code = LATE
        finally:
            end_group(process)
    return Finished(code, out.read_text(), err.read_text())


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the script's process group: politely, so that a machine ends its own children, then not."""
    until_s = time.monotonic() + GRACE_S
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < until_s:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_the_tutorial_does_what_it_says(played: Played) -> None:
    done = played.done
    assert done.code == 0, done.out[-2000:] + done.err[-4000:]
    for file in ("out.pcapng", "screen.png"):
        assert (played.folder / file).stat().st_size > 0
    assert "  ~ vm slim: config.limit: 600 -> 900\n" in done.out
    assert "dropped a frame of" in done.out


@pytest.mark.root
def test_the_tutorial_does_what_it_says_as_root_too(played: Played) -> None:
    if played.why_not_root:
        pytest.skip(played.why_not_root)
    received = re.findall(r"1 packets transmitted, (\d) (?:packets )?received", played.done.out)
    assert (played.done.code, received) == (0, ["1", "0"]), played.done.out[-900:] + played.done.err[-900:]


def test_a_script_that_stops_half_way_ends_what_it_left_in_the_background(tmp_path: Path) -> None:
    done = run("sleep 600 & echo $!; echo why >&2; exit 99", tmp_path)
    assert (done.code, done.err) == (99, "why\n")
    assert not Path(f"/proc/{int(done.out)}").exists()


def test_the_page_on_asking_and_proving_does_what_it_says(tmp_path: Path) -> None:
    folder = start(tmp_path)
    done = run(script(ASKING, root=False), folder)
    assert done.code == 0, done.out[-2000:] + done.err[-4000:]
    assert "+ passes now: ssh from user-os to any but private and special (inside)\n" in done.out
    assert (folder / "fates.pcapng").stat().st_size > 0


def test_every_make_target_of_the_tutorial_exists() -> None:
    targets = re.findall(r"^make (\w+)$", TUTORIAL, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
    assert targets == ["up"]


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    pages = {page: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")}
    links = [(page, link) for page, text in pages.items() for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    assert [link for page, link in links if not (page.parent / link).exists()] == []


def test_the_reference_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_anchor_of_the_reference_pages_has_its_heading() -> None:
    text = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
