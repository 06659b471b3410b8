"""PCI addresses read and print as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import Bdf

BDFS = st.builds(Bdf, st.integers(0, 255), st.integers(0, 31), st.integers(0, 7))


@given(BDFS)
def test_a_printed_address_reads_back(bdf: Bdf) -> None:
    assert Bdf.parse(str(bdf)) == bdf
    assert Bdf.parse(f"0000:{bdf}") == bdf


@given(BDFS)
def test_a_requester_id_names_one_function(bdf: Bdf) -> None:
    assert Bdf.from_requester_id(bdf.requester_id) == bdf


@pytest.mark.parametrize("text", ["", "2:0.0", "02:20.0", "02:00.8", "02:00", "0001:02:00.0", "02:00.0x"])
def test_what_is_no_pci_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"PCI address must look like 02:00\.0, not "):
        Bdf.parse(text)


def test_numbers_beyond_a_requester_id_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Bdf must have bus 0-255, device 0-31 and function 0-7, not 256, 0 and 0"):
        Bdf(256, 0, 0)
