"""S18: TXT protects a plain operating system too. No VMM, no VMX operation, the same launch and the same registers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.hw.txt.conftest import KEY, MEMORY_SIZE
from vafw.address import Hpa
from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm import EMPTY_POLICY, PolicySession, Tpm, TpmError, with_localities
from vafw.hw.txt import Activity, Chipset, SmxProcessor, TxtPlatform, bios_acm, build_sinit, senter
from vafw.hw.txt.bits import PRIVATE_SPACE, Reg
from vafw.hw.txt.locality import TpmPort
from vafw.hw.txt.outcome import LaunchOutcome
from vafw.hw.txt.sexit import MleJoin, tear_down, wakeup
from vafw.provider.model.loader import VMM_BASE, LaunchFiles, place
from vafw.provider.model.measure import provision
from vafw.tcg.algorithms import SHA1, SHA256, digest
from vafw.tcg.selection import PcrSelection
from vafw.txt import lcp, mle

CODE_AT = 0x240
CAPABILITIES = mle.CAP_WAKE_GETSEC | mle.CAP_ECX_PAGE_TABLE | mle.CAP_DA_PCR_MAP | mle.CAP_TCG_EVENT_LOG


def kernel(code: bytes) -> bytes:
    """An operating system's kernel as an MLE: header, and code that knows nothing of VMX."""
    header = mle.MleHeader(CODE_AT, 0, 0, CODE_AT + len(code), CAPABILITIES)
    image = header.encode().ljust(CODE_AT, b"\0") + code
    return image + bytes(-len(image) % 4096)


KERNEL = kernel(b"a kernel of an operating system, on the bare machine " * 200)


@dataclass
class Computer:
    platform: TxtPlatform

    def boot(self, image: bytes) -> LaunchOutcome:
        _, data = lcp.policy_for([mle.mle_hash(KERNEL)])
        module = build_sinit(b"the code of SINIT" * 20, KEY)
        loaded = place(self.platform, LaunchFiles(module, image, data.encode()))
        return senter(self.platform, loaded.sinit.base, loaded.sinit.size)


@pytest.fixture
def computer() -> Computer:
    memory = PhysicalMemory(MEMORY_SIZE)
    tpm = Tpm((SHA256, SHA1), lambda count: bytes(count - 1) + b"\1")
    tpm.startup()
    provision(tpm, lcp.policy_for([mle.mle_hash(KERNEL)])[0])
    platform = TxtPlatform(
        memory, Chipset(memory, KEY.public_key_hash), tpm, [SmxProcessor(number) for number in range(2)]
    )
    bios_acm.run(platform)
    return Computer(platform)


def test_a_plain_os_is_launched_and_measured_without_vmx_operation(computer: Computer) -> None:
    assert computer.boot(KERNEL).launched
    assert not any(each.vmx_operation for each in computer.platform.processors)
    assert computer.platform.tpm.read(17) != b"\xff" * 32


def test_a_changed_kernel_is_not_launched(computer: Computer) -> None:
    outcome = computer.boot(KERNEL.replace(b"bare machine", b"bare metal..", 1))
    assert outcome.error is not None
    assert (outcome.launched, outcome.error.component) == (False, "vmm")


def test_its_memory_is_out_of_reach_of_devices_until_it_says_otherwise(computer: Computer) -> None:
    computer.boot(KERNEL)
    assert computer.platform.chipset.device_write(VMM_BASE + CODE_AT, b"evil") is not None
    assert computer.platform.memory.read(VMM_BASE, len(KERNEL)) == KERNEL


def test_the_kernel_wakes_its_other_processors_and_ends_the_environment(computer: Computer) -> None:
    platform = computer.platform
    computer.boot(KERNEL)
    join = Hpa(0x20_0000)
    platform.memory.write(join, MleJoin(0x1F, VMM_BASE, 8, VMM_BASE + CODE_AT).encode())
    platform.memory.write_u64(Hpa(PRIVATE_SPACE + Reg.MLE_JOIN), join)
    platform.memory.write(Hpa(PRIVATE_SPACE + Reg.CMD_OPEN_LOCALITY2), b"\1")
    assert [each.number for each in wakeup(platform, platform.ilp)] == [1]
    tear_down(platform, (17, 18))
    assert {each.activity for each in platform.processors} == {Activity.RUNNING}


def test_a_disk_key_sealed_to_the_kernel_opens_for_no_other_kernel(computer: Computer) -> None:
    platform, launch = computer.platform, PcrSelection.of({SHA256: (17, 18)})
    computer.boot(KERNEL)
    policy = PolicySession()
    platform.tpm.policy_pcr(policy, launch)
    policy.show_localities((2,))
    sealed = platform.tpm.seal(b"the key of the disk", policy.policy)
    assert platform.tpm.unseal(sealed, policy, locality=2) == b"the key of the disk"
    platform.memory.write(Hpa(PRIVATE_SPACE + Reg.CMD_OPEN_LOCALITY2), b"\1")
    TpmPort(platform.tpm, platform.chipset).extend(17, {SHA256: digest(SHA256, b"a module")}, 2)
    other = PolicySession()
    platform.tpm.policy_pcr(other, launch)
    other.show_localities((2,))
    with pytest.raises(TpmError, match="must show what the object's policy asks for"):
        platform.tpm.unseal(sealed, other, locality=2)
    assert policy.policy != with_localities(EMPTY_POLICY, (2,))
