"""`vafw config sign` at a terminal, and on files that are none of its own: no machine is needed for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.people import People
from tests.conftest import ROOT, Vafw
from tests.control.parts import statement
from vafw.control.envelope import Version
from vafw.control.proposal import Proposal
from vafw.errors import ExitCode
from vafw.trace import Value

ONE: dict[str, Value] = {"port": 1}
TWO: dict[str, Value] = {"port": 2}
PROPOSAL = Proposal(statement(Version(1, 1), ONE, TWO), ONE, TWO)


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People.made_in(tmp_path / "keys")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "change.json"
    path.write_text(PROPOSAL.text)
    return path


def at_a_terminal(answer: str, *arguments: object) -> tuple[int, str]:
    """Run it with a terminal for standard input, on which somebody answers."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        command = [sys.executable, "-m", "vafw", "config", "sign", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, stdin=theirs, capture_output=True, text=True, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("answer", "options", "code", "signatures"),
    [("n", (), ExitCode.INTERRUPTED, 0), ("y", (), ExitCode.DONE, 1), ("n", ("--yes",), ExitCode.DONE, 1)],
)
def test_who_sits_at_a_terminal_is_shown_it_and_asked(
    file: Path, people: People, *, answer: str, options: tuple[str, ...], code: ExitCode, signatures: int
) -> None:
    ended, said = at_a_terminal(answer, file, "--key", people.key("anna"), *options)
    assert ended == code
    assert said.startswith("\n".join(PROPOSAL.shown()))
    assert ("Sign it?" in said) is (not options)
    assert len(Proposal.read(file.read_bytes()).signatures) == signatures


def test_line_ends_of_another_system_are_no_part_of_a_signature(
    file: Path, people: People, tmp_path: Path, vafw: Vafw
) -> None:
    assert vafw("config", "sign", file, "--key", people.key("anna")).code == 0
    (signature,) = Proposal.read(file.read_bytes()).signatures
    foreign = tmp_path / "anna.sig"
    foreign.write_bytes(signature.replace("\n", "\r\n").encode())
    file.write_text(PROPOSAL.text)
    assert vafw("config", "sign", file, "--signature", foreign).code == 0
    assert Proposal.read(file.read_bytes()).signatures == (signature,)


def test_one_way_of_signing_must_be_chosen(file: Path, people: People, vafw: Vafw) -> None:
    for chosen in ((), ("--statement", "--key", people.key("anna"))):
        done = vafw("config", "sign", file, *chosen)
        wanted = "one of --key, --signature and --statement must be given"
        assert (done.code, wanted in done.err) == (ExitCode.USAGE, True)


def test_a_signature_of_something_else_is_refused_and_the_file_stays(
    file: Path, people: People, tmp_path: Path, vafw: Vafw
) -> None:
    other = tmp_path / "other.json"
    other.write_text(Proposal(statement(Version(1, 2), ONE, TWO), ONE, TWO).text)
    vafw("config", "sign", other, "--key", people.key("anna"))
    made = tmp_path / "anna.sig"
    made.write_text(Proposal.read(other.read_bytes()).signatures[0])
    done = vafw("config", "sign", file, "--signature", made)
    said = f"a signature must be of what is to be signed, and that by {people.public('anna').fingerprint} is not"
    assert (done.code, done.err.splitlines()[-1]) == (ExitCode.REFUSED, f"error: {said}")
    assert file.read_text() == PROPOSAL.text


def test_a_file_that_is_none_is_refused(tmp_path: Path, people: People, vafw: Vafw) -> None:
    missing = vafw("config", "sign", tmp_path / "none.json", "--key", people.key("anna"))
    assert (missing.code, "no such file or directory" in missing.err) == (ExitCode.FAILED, True)
    (tmp_path / "odd.json").write_text("[]")
    odd = vafw("config", "apply", tmp_path / "odd.json")
    assert odd.code == ExitCode.INVALID_DOCUMENT
    assert "a proposal must be a file that vafw config propose wrote: a message must be a JSON object" in odd.err
