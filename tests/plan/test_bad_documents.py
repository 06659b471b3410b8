"""Every seeded set of documents that contradict each other is refused as its folder's ``expected.txt`` states.

Run this file as a program to write those files anew after a message was changed on purpose.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vafw.document.diagnostic import Diagnostic, DocumentInvalid
from vafw.document.load import load_topology
from vafw.plan.checks import CHECKS
from vafw.plan.codes import CODES
from vafw.plan.compile import check

ROOT = Path(__file__).parents[2]
FOLDERS = sorted((ROOT / "tests" / "documents_bad").glob("plan-*"))
SHIPPED = re.compile(r"\S*/(vafw_appliances/\S+?):\d+:\d+")
"""A place in a shipped manifest, of which only the file is pinned."""
SOURCES = "".join(path.read_text() for path in (ROOT / "vafw" / "plan" / "checks").glob("*.py"))


def found_in(folder: Path) -> tuple[Diagnostic, ...]:
    """What is wrong with the documents of a folder, alone or together."""
    try:
        return check(load_topology(folder / "topology.yaml", environment={}))
    except DocumentInvalid as error:
        return error.diagnostics


def stated(folder: Path) -> str:
    """The findings as ``expected.txt`` has them, without the folders that depend on where the tests run."""
    lines = [line for each in found_in(folder) for line in lines_of(each)]
    text = "".join(f"{line}\n" for line in lines).replace(f"{folder}/", "")
    return SHIPPED.sub(r"\1", text)


def lines_of(each: Diagnostic) -> list[str]:
    return [
        f"{each.span}: {each.severity}: {each.code}: {each.message}",
        *([f"  here: {each.label}"] if each.label else []),
        *(f"  {label.span}: {label.text}" for label in each.related),
        *(f"  note: {note}" for note in each.notes),
        f"  hint: {each.hint}",
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_documents_that_contradict_each_other_are_refused(folder: Path) -> None:
    assert stated(folder) == (folder / "expected.txt").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_every_refusal_says_what_to_do(folder: Path) -> None:
    assert all(each.hint for each in found_in(folder))


def test_every_code_of_a_check_is_explained_and_has_a_seeded_document() -> None:
    used = set(re.findall(r"VAFW-[TPM]\d{3}", SOURCES))
    seeded = {each.code for folder in FOLDERS for each in found_in(folder)}
    assert used == set(CODES)
    assert used - seeded == set()


def test_every_check_is_in_the_list() -> None:
    defined = set(
        re.findall(r"^def ([a-z]\w*)\(documents: DocumentSet\) -> Iterator\[Diagnostic\]", SOURCES, re.MULTILINE)
    )
    assert defined == {check.__name__ for check in CHECKS}


if __name__ == "__main__":
    for each in FOLDERS:
        (each / "expected.txt").write_text(stated(each))
