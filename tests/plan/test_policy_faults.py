"""Seeded faults of policies: each is found, and nothing else, with the place, sentence and remedy that its file states.

Run this file as a program to write what is stated anew after a message was changed on purpose.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.plan.conftest import Desk
from tests.plan.test_bad_documents import lines_of
from vafw.document.load import DocumentSet, load_topology, read_document
from vafw.document.policy import Policy
from vafw.document.source import Source
from vafw.plan.compile import check

FOLDER = Path(__file__).parent / "policy_faults"
FAULTS = sorted(FOLDER.glob("*.yaml"))


def stated(documents: DocumentSet) -> str:
    lines = [line for each in check(documents) for line in lines_of(each)]
    text = "".join(f"{line}\n" for line in lines).replace(f"{FOLDER}/", "")
    return text.replace(f"{FOLDER.parent / 'desk'}/", "")


def with_policy(documents: DocumentSet, fault: Path) -> DocumentSet:
    policy = read_document(Source.of_text(fault.read_text(), fault), Policy)
    return replace(documents, policy=policy)


def test_there_are_at_least_thirty() -> None:
    assert len(FAULTS) >= 30


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.stem))
def test_a_seeded_fault_of_a_policy_is_found(desk: Desk, fault: Path) -> None:
    found = stated(with_policy(desk(), fault))
    assert found
    assert found == fault.with_suffix(".txt").read_text()


if __name__ == "__main__":
    base = load_topology(FOLDER.parent / "desk" / "topology.yaml", environment={})
    for each in FAULTS:
        each.with_suffix(".txt").write_text(stated(with_policy(base, each)))
