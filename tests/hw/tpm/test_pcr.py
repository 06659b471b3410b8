from __future__ import annotations

import pytest

from vafw.hw.tpm import PcrBank, extend_localities, reset_localities
from vafw.tcg import SHA1, SHA256

EXTEND = {17: {2, 3, 4}, 18: {2, 3, 4}, 19: {2, 3}, 20: {1, 2, 3}, 21: {2}, 22: {2}}
RESET = {16: {0, 1, 2, 3}, 20: {2}, 21: {2}, 22: {2}, 23: {0, 1, 2, 3}}


@pytest.mark.parametrize("pcr", range(24))
def test_localities_are_those_of_the_platform_profile(pcr: int) -> None:
    assert extend_localities(pcr) == EXTEND.get(pcr, {0, 1, 2, 3, 4})
    assert reset_localities(pcr) == RESET.get(pcr, set())


def test_repr_shows_the_algorithm_and_pcr_17() -> None:
    assert repr(PcrBank(SHA256)) == "<PcrBank 0x000b PCR17=ffffffffffffffff>"


def test_a_reset_register_is_zero_in_the_size_of_its_bank() -> None:
    bank = PcrBank(SHA1)
    bank.reset(17)
    assert bank.read(17) == bytes(20)
