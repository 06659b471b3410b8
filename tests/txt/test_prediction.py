"""PCR 17 and 18 foretold from files and an earlier log, held against what launches of the modelled TXT machine give."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.conftest import Vafw
from tests.hw.txt.conftest import KEY
from tests.txt.test_components import elf_of
from vafw.address import Hpa
from vafw.errors import ExitCode
from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import Chipset, SmxProcessor, TxtPlatform, bios_acm, build_sinit, heap, senter
from vafw.hw.txt.bits import Reg
from vafw.provider.model.loader import LaunchFiles, place
from vafw.provider.model.measure import provision
from vafw.tcg.algorithms import SHA1, SHA256, digest, extended
from vafw.tcg.eventlog import Event, decode_log, encode_log
from vafw.tcg.events import EventType
from vafw.txt.components import Components, Module, hash_of_mle, read_policy, read_sinit
from vafw.txt.lcp import policy_for
from vafw.txt.prediction import predict
from vafw.vmm.image import build_image, image_hash
from vafw.wire import FormatError


@dataclass(frozen=True)
class Launch:
    """The files of a launch, and what it left."""

    sinit: bytes
    vmm: bytes
    policy: bytes
    data: bytes
    pcrs: dict[int, bytes]
    log: bytes

    @property
    def components(self) -> Components:
        policy = read_policy(self.policy, self.data)
        return Components(read_sinit(self.sinit), hash_of_mle(elf_of(self.vmm)), policy, self.data)


def launched(vmm_code: bytes, sinit_code: bytes = b"the code of SINIT") -> Launch:
    sinit, vmm = build_sinit(sinit_code * 20, KEY), build_image({"vmm/vmm.py": vmm_code * 500}, "")
    policy, data = policy_for([image_hash(vmm)])
    memory = PhysicalMemory(64 << 20)
    tpm = Tpm((SHA256, SHA1), lambda count: bytes(count - 1) + b"\1")
    tpm.startup()
    provision(tpm, policy)
    platform = TxtPlatform(memory, Chipset(memory, KEY.public_key_hash), tpm, [SmxProcessor(0)])
    bios_acm.run(platform)
    placed = place(platform, LaunchFiles(sinit, vmm, data.encode()))
    assert senter(platform, placed.sinit.base, placed.sinit.size).launched
    base, size = Hpa(platform.chipset.get(Reg.HEAP_BASE)), platform.chipset.get(Reg.HEAP_SIZE)
    log = heap.read_event_log(memory, base, size)
    return Launch(sinit, vmm, policy.encode(), data.encode(), {pcr: tpm.read(pcr, SHA256) for pcr in (17, 18)}, log)


@pytest.fixture(scope="module")
def before() -> Launch:
    return launched(b"the VMM")


def test_the_components_of_a_launch_give_its_registers_and_nothing_diverges(before: Launch) -> None:
    told = predict(before.components, decode_log(before.log))
    assert (told.pcrs, told.first_divergence, told.unmeasured) == (before.pcrs, None, ())


def test_the_registers_after_an_update_are_foretold_from_the_log_before_it(before: Launch) -> None:
    after = launched(b"another VMM", b"another SINIT")
    told = predict(after.components, decode_log(before.log))
    assert told.pcrs == after.pcrs != before.pcrs
    first = told.first_divergence
    assert first is not None
    assert (first.component, str(first.event)) == ("sinit", "PCR 17 HASH_START")


def test_tboots_modules_follow_its_own_policy_in_pcr_17(before: Launch) -> None:
    events = list(decode_log(before.log))
    modules = (Module("vmlinuz", "ro", b"kernel"), Module("initrd", "", b"initrd"))
    for value in (bytes(32), *(each.digest for each in modules)):
        events.append(Event(17, EventType.TBOOT, {SHA256: value, SHA1: bytes(20)}))
    told = predict(replace(before.components, modules=modules), events)
    assert told.first_divergence is None
    value = extended(SHA256, before.pcrs[17], bytes(32))
    for each in modules:
        value = extended(SHA256, value, each.digest)
    assert told.pcrs[17] == value
    updated = replace(modules[1], image=b"initrd 2")
    first = predict(replace(before.components, modules=(modules[0], updated)), events).first_divergence
    assert first is not None
    assert (first.component, first.position, first.value) == ("module initrd", len(events), updated.digest)


def test_a_module_that_the_log_does_not_measure_is_named(before: Launch) -> None:
    components = replace(before.components, modules=(Module("vmlinuz", "", b"kernel"),))
    assert predict(components, decode_log(before.log)).unmeasured == ("module vmlinuz",)


def test_a_log_of_no_launch_is_refused(before: Launch) -> None:
    with pytest.raises(FormatError, match=r"^event log: it must be of one launch, with SHA-256 digests$"):
        predict(before.components, [Event(0, EventType.EV_SEPARATOR, {SHA256: digest(SHA256, b"")})])


@pytest.fixture
def on_disk(before: Launch, tmp_path: Path) -> list[str | Path]:
    contents = {
        "mle": elf_of(before.vmm), "sinit": before.sinit, "lcp": before.policy, "lcp-data": before.data,
        "log": before.log,
    }  # fmt: skip
    options: list[str | Path] = []
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        options += [f"--{name}", tmp_path / name]
    return options


def test_the_verb_prints_components_and_prediction_and_writes_reference_values(
    vafw: Vafw, before: Launch, on_disk: list[str | Path], tmp_path: Path
) -> None:
    done = vafw("measure", "components", *on_disk, "--json", "--write", tmp_path / "machine.yaml")
    told = json.loads(done.out)["data"]
    assert done.code == ExitCode.DONE
    assert told["predicted"] == {str(pcr): value.hex() for pcr, value in before.pcrs.items()}
    assert told["components"]["vmm"] == image_hash(before.vmm).hex()
    assert told["differences"] == []
    checked = vafw("check", tmp_path / "machine.yaml")
    assert (checked.code, image_hash(before.vmm).hex() in (tmp_path / "machine.yaml").read_text()) == (0, True)


def test_a_log_of_another_vmm_is_refused_by_its_first_divergence(
    vafw: Vafw, before: Launch, on_disk: list[str | Path], tmp_path: Path
) -> None:
    events = [
        replace(each, digests={bank: bytes(len(value)) for bank, value in each.digests.items()})
        if each.event_type == EventType.TXT_MLE_HASH
        else each
        for each in decode_log(before.log)
    ]
    (tmp_path / "log").write_bytes(encode_log(events, (SHA256, SHA1)))
    done = vafw("measure", "components", *on_disk)
    assert done.code == ExitCode.REFUSED
    assert done.out.splitlines()[-1] == (
        f"event #6 PCR 17 MLE_HASH diverges first: vmm gives {image_hash(before.vmm).hex()}, the log has {'0' * 64}"
    )


def test_policy_data_without_their_policy_are_refused(vafw: Vafw, on_disk: list[str | Path]) -> None:
    done = vafw("measure", "components", *on_disk[:4], *on_disk[6:])
    assert done.code == ExitCode.USAGE
    assert done.err == "error: --lcp-data must come with --lcp, the policy that names them\n"
