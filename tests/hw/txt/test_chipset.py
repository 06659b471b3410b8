from __future__ import annotations

import hashlib

import pytest

from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import Chipset, ProtectedRange, TxtPlatform, bios_acm, model_key
from vafw.hw.txt.bits import PRIVATE_SPACE, PUBLIC_SPACE, Dpr, E2sts, Ests, Reg, Sts
from vafw.hw.txt.chipset import public_key_hash
from vafw.tcg.algorithms import SHA256

KEY_HASH = public_key_hash(model_key.MODULUS)
ALL_ONES = (1 << 64) - 1


@pytest.fixture
def memory() -> PhysicalMemory:
    return PhysicalMemory(16 << 20)


@pytest.fixture
def chipset(memory: PhysicalMemory) -> Chipset:
    return Chipset(memory, KEY_HASH)


def test_the_public_key_is_the_hash_of_the_modulus_as_stored(chipset: Chipset, memory: PhysicalMemory) -> None:
    read = b"".join(memory.read(Hpa(PUBLIC_SPACE + Reg.PUBLIC_KEY + at), 8) for at in range(0, 32, 8))
    assert read == hashlib.sha256(model_key.MODULUS.to_bytes(256, "little")).digest() == chipset.public_key


@pytest.mark.usefixtures("chipset")
def test_public_registers_cannot_be_written(memory: PhysicalMemory) -> None:
    memory.write_u64(Hpa(PUBLIC_SPACE + Reg.HEAP_BASE), 0x1234)
    assert memory.read_u64(Hpa(PUBLIC_SPACE + Reg.HEAP_BASE)) == 0


def test_the_private_space_reads_ones_and_ignores_writes_while_it_is_closed(
    chipset: Chipset, memory: PhysicalMemory
) -> None:
    memory.write_u64(Hpa(PRIVATE_SPACE + Reg.HEAP_BASE), 0x1234)
    assert memory.read_u64(Hpa(PRIVATE_SPACE + Reg.HEAP_BASE)) == ALL_ONES
    assert chipset.get(Reg.HEAP_BASE) == 0


def test_the_private_space_can_be_written_while_it_is_open(chipset: Chipset, memory: PhysicalMemory) -> None:
    chipset.change_status(set_bits=Sts.PRIVATE_OPEN)
    memory.write_u64(Hpa(PRIVATE_SPACE + Reg.HEAP_BASE), 0x1234)
    assert memory.read_u64(Hpa(PUBLIC_SPACE + Reg.HEAP_BASE)) == 0x1234


def test_a_locked_dpr_stays_as_it_is(chipset: Chipset, memory: PhysicalMemory) -> None:
    chipset.change_status(set_bits=Sts.PRIVATE_OPEN)
    memory.write_u32(Hpa(PRIVATE_SPACE + Reg.DPR), Dpr(8 << 20, 2, lock=True).encode())
    memory.write_u32(Hpa(PRIVATE_SPACE + Reg.DPR), 0)
    assert chipset.dpr == Dpr(8 << 20, 2, lock=True)


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        (Reg.CMD_CLOSE_PRIVATE, Sts.LOCALITY1_OPEN | Sts.LOCALITY2_OPEN, Sts(0)),
        (Reg.CMD_UNLOCK_MEM_CONFIG, Sts.MEM_CONFIG_LOCK, Sts.PRIVATE_OPEN),
        (Reg.CMD_OPEN_LOCALITY2, Sts(0), Sts.PRIVATE_OPEN | Sts.LOCALITY2_OPEN),
        (Reg.CMD_CLOSE_LOCALITY1, Sts.LOCALITY1_OPEN, Sts.PRIVATE_OPEN),
    ],
)
def test_a_command_register_changes_the_status(
    chipset: Chipset, memory: PhysicalMemory, command: Reg, before: Sts, after: Sts
) -> None:
    chipset.change_status(set_bits=Sts.PRIVATE_OPEN | before)
    memory.write(Hpa(PRIVATE_SPACE + command), b"\1")
    assert chipset.status == after


def test_secrets_survive_a_power_cycle_and_the_error_code_does_not(chipset: Chipset, memory: PhysicalMemory) -> None:
    chipset.change_status(set_bits=Sts.PRIVATE_OPEN)
    memory.write(Hpa(PRIVATE_SPACE + Reg.CMD_SECRETS), b"\1")
    chipset.txt_reset(0xC0001051)
    assert chipset.get(Reg.ERRORCODE) == 0xC0001051
    assert chipset.get(Reg.ESTS) == Ests.TXT_RESET
    chipset.power_cycle()
    assert chipset.get(Reg.ERRORCODE) == chipset.get(Reg.ESTS) == 0
    assert chipset.get(Reg.E2STS) == E2sts.SECRETS
    assert chipset.public_key == KEY_HASH


def test_a_devices_dma_into_the_dpr_is_blocked(chipset: Chipset, memory: PhysicalMemory) -> None:
    chipset.hw_set(Reg.DPR, Dpr(8 << 20, 2, lock=True).encode())
    dpr = ProtectedRange("DPR", 6 << 20, 2 << 20)
    assert chipset.device_write((6 << 20) + 5, b"evil") == dpr
    assert chipset.device_read((8 << 20) - 1, 4) == dpr
    assert chipset.device_write(8 << 20, b"fine") is None
    assert chipset.device_read(8 << 20, 4) == b"fine"
    assert memory.read(Hpa((6 << 20) + 5), 4) == bytes(4)


def test_an_aliased_address_gets_past_the_range_check_until_the_bios_acm_has_run(
    chipset: Chipset, memory: PhysicalMemory
) -> None:
    tpm = Tpm((SHA256,), lambda count: bytes(count - 1) + b"\1")
    platform = TxtPlatform(memory, chipset, tpm)
    bios_acm.run(platform)
    inside = bios_acm.layout_for(memory).sinit_base
    for register, value in ((Reg.ALIAS0_BASE, 0x100001), (Reg.ALIAS0_LIMIT, 0x100FFF), (Reg.ALIAS0_TARGET, inside)):
        memory.write_u64(Hpa(PUBLIC_SPACE + register), value)
    assert chipset.device_write(0x100010, b"evil") is None
    assert memory.read(Hpa(inside + 0x10), 4) == b"evil"
    bios_acm.run(platform)
    assert chipset.device_write(0x100010, b"evil") is None
    assert memory.read(Hpa(inside + 0x10), 4) == bytes(4)
    assert memory.read(Hpa(0x100010), 4) == b"evil"


def test_aliasing_cannot_be_turned_on_once_memory_configuration_is_locked(
    chipset: Chipset, memory: PhysicalMemory
) -> None:
    chipset.change_status(set_bits=Sts.MEM_CONFIG_LOCK)
    memory.write_u64(Hpa(PUBLIC_SPACE + Reg.ALIAS0_BASE), 0x100001)
    assert chipset.aliases == ()
