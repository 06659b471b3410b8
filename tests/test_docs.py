"""The documentation is executed, and its reference pages are what the code says.

The tutorial runs as one shell script: block after block, in a copy of the project's policies, each command with the
exit code that its comment names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.captures.namespaces import missing
from tests.conftest import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
ASKING = (ROOT / "docs" / "asking-and-proving.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>[a-z]+)(?P<root> root)?\n(?P<text>.*?)```", re.DOTALL
)
LIMIT_S = 150
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the tutorial starts from, measured as it is now."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    command = [sys.executable, "-m", "vafw", "measure", str(tmp_path / "policies" / "office-laptop"), "--write"]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VAFW_RUN_DIR": str(folder / "run")}
    return subprocess.run(
        ["timeout", "-k", "5", str(LIMIT_S), "bash", "-c", text],  # ends what runs in the background, too
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tutorial_does_what_it_says(folder: Path) -> None:
    done = run(script(root=False), folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for file in ("out.pcapng", "screen.png"):
        assert (folder / file).stat().st_size > 0
    assert "  ~ vm slim: config.limit: 600 -> 900\n" in done.stdout
    assert "dropped a frame of" in done.stdout


@pytest.mark.root
def test_the_tutorial_does_what_it_says_as_root_too(folder: Path) -> None:
    if why := missing():
        pytest.skip(why)
    try:
        done = run(own_names(script(root=True)), folder)
    finally:  # what a tutorial that stopped half-way leaves behind
        for name in NAMESPACES:
            subprocess.run(["ip", "netns", "delete", own_names(name)], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_the_page_on_asking_and_proving_does_what_it_says(folder: Path) -> None:
    done = run(script(ASKING, root=False), folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "+ passes now: ssh from user-os to any but private and special (inside)\n" in done.stdout
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
