"""Random lives of a TPM: the modelled one and swtpm are told the same, and must answer and hold the same throughout."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hw.tpm.swtpm import Swtpm, needs_swtpm, running
from vafw.hw.tpm import StartupType, Tpm, TpmError
from vafw.tcg import SHA1, SHA256

pytestmark = needs_swtpm

BANKS = (SHA256, SHA1)
STEPS = 120
KINDS = (StartupType.CLEAR, StartupType.STATE)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Swtpm]:
    with running(tmp_path) as swtpm:
        yield swtpm


def digests(number: int) -> dict[int, bytes]:
    return {SHA256: bytes([number]) * 32, SHA1: bytes([number]) * 20}


class Both:
    """One life, told twice."""

    def __init__(self, real: Swtpm, chance: random.Random) -> None:
        self.ours = Tpm(BANKS, lambda length: bytes(range(length)))
        self.real = real
        self.chance = chance

    def extend(self) -> tuple[int, int]:
        pcr, locality, value = self.chance.randrange(26), self.chance.randrange(5), digests(self.chance.randrange(256))
        return self.refusal("extend", pcr, value, locality), self.real.extend(pcr, value, locality)

    def reset(self) -> tuple[int, int]:
        pcr, locality = self.chance.randrange(26), self.chance.randrange(5)
        return self.refusal("reset", pcr, locality), self.real.reset(pcr, locality)

    def launch(self) -> tuple[int, int]:
        data = self.chance.randbytes(self.chance.randrange(1, 200))
        self.ours.hash_start()
        self.ours.hash_data(data)
        self.ours.hash_end()
        self.real.hash_sequence(data)
        return 0, 0

    def shutdown(self) -> tuple[int, int]:
        kind = self.chance.randrange(2)
        self.real.at_locality(0)
        return self.refusal("shutdown", KINDS[kind]), self.real.shutdown(kind)

    def power_cycle(self) -> tuple[int, int]:
        self.ours.power_cycle()
        self.real.power_cycle()
        return 0, 0

    def startup(self) -> tuple[int, int]:
        kind = self.chance.randrange(2)
        return self.refusal("startup", KINDS[kind]), self.real.startup(kind)

    def refusal(self, command: str, *arguments: object) -> int:
        try:
            getattr(self.ours, command)(*arguments)
        except TpmError as error:
            return error.rc
        return 0

    def state(self) -> tuple[object, object]:
        """Everything that can be read, of a TPM that is started; what is sure of one that is not."""
        if not self.ours.started:
            return self.ours.tpm_established, self.real.established()
        self.real.at_locality(0)
        clock = self.ours.clock_info
        pcrs = [(pcr, bank) for bank in BANKS for pcr in range(24)]
        counts = clock.reset_count, clock.restart_count
        mine = [self.ours.read(*each) for each in pcrs], counts, self.ours.update_counter
        return mine, ([self.real.read(*each) for each in pcrs], self.real.clock(), self.real.update_counter())


@pytest.mark.parametrize("seed", range(int(os.environ.get("VAFW_TPM_LIVES", "4"))))
def test_two_tpms_that_are_told_the_same_are_the_same(real: Swtpm, seed: int) -> None:
    both = Both(real, random.Random(seed))
    steps = [both.extend, both.reset, both.launch, both.shutdown, both.power_cycle, both.startup]
    both.startup()
    for number in range(STEPS):
        step = both.chance.choices(steps, weights=(6, 2, 1, 1, 1, 3))[0]
        mine, theirs = step()
        assert (number, step.__name__, hex(mine)) == (number, step.__name__, hex(theirs))
        ours, its = both.state()
        assert (number, step.__name__, ours) == (number, step.__name__, its)
