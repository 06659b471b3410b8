"""Every fuzz target runs, on noise and on edits of what is good; hours of it are `make fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attest.fuzz import TARGETS
from tests.attest.logs.test_recorded import IMA, OVMF
from tests.attest.naive import Bench
from tests.conftest import ROOT

GOOD = {"quote": Bench(1).evidence.quote, "signature": Bench(1).evidence.signature, "log": OVMF, "ima": IMA}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_what_is_good_and_nothing_at_all(name: str) -> None:
    for data in (b"", b"\0" * 64, GOOD.get(name, b"{}")):
        TARGETS[name](data)


@given(st.sampled_from(sorted(TARGETS)), st.binary(max_size=150))
def test_a_target_takes_noise(name: str, data: bytes) -> None:
    TARGETS[name](data)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_target_takes_what_is_nearly_good(name: str, data: st.DataObject) -> None:
    good = GOOD[name]
    at = data.draw(st.integers(0, len(good) - 1))
    TARGETS[name](good[:at] + data.draw(st.binary(max_size=4)) + good[at + data.draw(st.integers(0, 4)) :])


def test_the_script_names_every_target() -> None:
    script = (ROOT / "scripts" / "fuzz").read_text()
    assert f"for target in {' '.join(TARGETS)}; do" in script
