"""Every seeded bad document is refused with the place, code, sentence and remedy that its folder states."""

from __future__ import annotations

from pathlib import Path

import pytest

from vafw.document.diagnostic import Diagnostic, DocumentInvalid
from vafw.document.load import load_topology
from vafw.document.rendering import render

FOLDERS = sorted((Path(__file__).parent.parent / "documents_bad").glob("[0-9]*"))


def refused(topology: Path) -> DocumentInvalid:
    with pytest.raises(DocumentInvalid) as caught:
        load_topology(topology, environment={})
    return caught.value


def stated(each: Diagnostic) -> list[str]:
    related = [f"  {label.span}: {label.text}" for label in each.related]
    return [f"{each.span}: {each.code}: {each.message}", *related, f"  hint: {each.hint}"]


def test_there_are_at_least_forty() -> None:
    assert len(FOLDERS) >= 40


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_a_seeded_bad_document_is_refused(folder: Path) -> None:
    error = refused(folder / "topology.yaml")
    found = "\n".join(line for each in error.diagnostics for line in stated(each))
    assert found.replace(f"{folder}/", "") + "\n" == (folder / "expected.txt").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_a_seeded_bad_document_is_shown_with_its_line_and_a_caret(folder: Path) -> None:
    error = refused(folder / "topology.yaml")
    shown = render(error.diagnostics)
    assert all(f"--> {each.span}" in shown for each in error.diagnostics)
    assert shown.count("^") >= sum(bool(each.span.source.text) for each in error.diagnostics)


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    good = FOLDERS[0]
    outside = tmp_path / "outside.yaml"
    outside.write_text((good / "machine.yaml").read_text())
    inside = tmp_path / "topology"
    inside.mkdir()
    (inside / "topology.yaml").write_text((good / "topology.yaml").read_text())
    (inside / "policy.yaml").write_text((FOLDERS[2] / "policy.yaml").read_text())
    (inside / "reference-values.yaml").write_text((good / "reference-values.yaml").read_text())
    (inside / "machine.yaml").symlink_to(outside)
    (only,) = refused(inside / "topology.yaml").diagnostics
    assert stated(only) == [
        f"{inside}/topology.yaml:4:10: VAFW-F002: the file 'machine.yaml' cannot be read: "
        "it must be a file below the topology's folder, and it lies outside",
        "  hint: put the file beside the topology, or in a folder below it",
    ]
