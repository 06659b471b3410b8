"""Our appraisal of a quote and tpm2_checkquote's agree: on 1,000 quotes with `make differential-long`, on 40 here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.attest.quotes import damaged, good, ill_formed, ours, theirs

pytestmark = pytest.mark.skipif(
    shutil.which("tpm2_checkquote") is None, reason="not installed: tpm2_checkquote (Debian package tpm2-tools)"
)
COUNT = int(os.environ.get("VAFW_QUOTES", "40"))


def test_both_say_the_same_of_good_and_of_damaged_quotes(tmp_path: Path) -> None:
    judged = {True: 0, False: 0}
    for seed in range(COUNT):
        case = good(seed)
        case = damaged(case, seed) if seed % 4 else case
        mine = ours(case)
        assert mine == theirs(case, tmp_path), f"seed {seed}"
        judged[mine] += 1
    assert judged[True] >= COUNT // 4
    assert judged[False] >= COUNT // 3


def test_magic_type_and_selection_are_looked_at_by_us_alone(tmp_path: Path) -> None:
    """tpm2_checkquote 5.4 believes a well signed structure of another type, and one of fewer registers."""
    cases = [ill_formed(good(seed), seed) for seed in range(COUNT // 4)]
    assert not any(ours(case) for case in cases)
    assert any(theirs(case, tmp_path) for case in cases)
