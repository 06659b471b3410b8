from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.address import Hpa
from vafw.errors import UsageError
from vafw.hw.memory import PhysicalMemory
from vafw.hw.tpm.tpm import Tpm
from vafw.hw.txt import Chipset, TxtPlatform, bios_acm, sinit_build
from vafw.hw.txt.outcome import LaunchOutcome
from vafw.provider.model import measure
from vafw.provider.model.loader import (
    LaunchComponent,
    LaunchFiles,
    LoaderError,
    Tamper,
    event_log,
    launch,
    place,
)
from vafw.tcg.algorithms import SHA1, SHA256
from vafw.tcg.eventlog import decode_log
from vafw.tcg.replay import replay
from vafw.txt import acm
from vafw.vmm.image import build_image, measured_range

MEMORY_SIZE = 64 << 20
ONES = b"\xff" * 32
VMM = measure.vmm_image()
SINIT = measure.sinit_module()
OWNER = measure.owner_policy([measure.measure(SINIT, VMM, ()).vmm])
FILES = LaunchFiles(SINIT, VMM, OWNER.data.encode())


def powered_on() -> TxtPlatform:
    memory = PhysicalMemory(MEMORY_SIZE)
    tpm = Tpm((SHA256, SHA1), lambda count: bytes(count - 1) + b"\1")
    tpm.startup()
    measure.provision(tpm, OWNER.policy)
    platform = TxtPlatform(memory, Chipset(memory, measure.MODEL_KEY.public_key_hash), tpm)
    bios_acm.run(platform)
    return platform


def attempt(tamper: Tamper | None) -> tuple[TxtPlatform, LaunchOutcome]:
    platform = powered_on()
    return platform, launch(platform, FILES, tamper)


def test_the_installed_vmm_launches_and_its_log_explains_the_tpm() -> None:
    platform, outcome = attempt(None)
    assert outcome.launched
    replayed = replay(decode_log(event_log(platform)))[SHA256]
    assert replayed == {pcr: platform.tpm.read(pcr) for pcr in (17, 18)}


@pytest.mark.parametrize("component", [LaunchComponent.VMM, LaunchComponent.SINIT, LaunchComponent.LCP])
def test_a_component_that_is_altered_in_memory_is_refused_and_named(component: LaunchComponent) -> None:
    platform, outcome = attempt(Tamper(component))
    assert outcome.error is not None
    assert (outcome.launched, outcome.error.component) == (False, component)
    assert len(outcome.error.expected) == len(outcome.error.found) == 64
    assert outcome.error.expected != outcome.error.found
    assert platform.tpm.read(17) == platform.tpm.read(18) == ONES
    assert event_log(platform) == b""


@given(st.data())
def test_any_measured_bit_that_is_altered_is_refused_and_named(data: st.DataObject) -> None:
    component = data.draw(st.sampled_from([LaunchComponent.VMM, LaunchComponent.LCP]))
    last = {LaunchComponent.VMM: measured_range(VMM).stop * 8, LaunchComponent.LCP: len(FILES.policy_data) * 8}[
        component
    ]
    _, outcome = attempt(Tamper(component, data.draw(st.integers(0, last - 1))))
    assert outcome.error is not None
    assert outcome.error.component == component


@given(st.integers(0, len(SINIT) * 8 - 1).filter(lambda bit: not acm.SCRATCH_AT <= bit // 8 < acm.USER_AT))
def test_any_bit_of_sinit_outside_its_scratch_space_is_refused_and_named(bit: int) -> None:
    _, outcome = attempt(Tamper(LaunchComponent.SINIT, bit))
    assert outcome.error is not None
    assert outcome.error.component == "sinit"


def test_altering_what_nothing_measures_is_refused_rather_than_launched() -> None:
    with pytest.raises(
        UsageError, match=r"^bit 5152 of sinit lies in its scratch space, which nothing measures or runs$"
    ):
        attempt(Tamper(LaunchComponent.SINIT, acm.SCRATCH_AT * 8))


def test_an_altered_log_no_longer_explains_the_tpm() -> None:
    platform, outcome = attempt(Tamper(LaunchComponent.LOG))
    assert outcome.launched
    assert replay(decode_log(event_log(platform)))[SHA256][17] != platform.tpm.read(17)
    assert platform.tpm.read(17) == attempt(None)[0].tpm.read(17)


def test_a_skipped_launch_leaves_the_dynamic_pcrs_at_ones() -> None:
    platform, outcome = attempt(Tamper(LaunchComponent.LAUNCH))
    assert outcome.error is not None
    assert (outcome.launched, outcome.error.component, outcome.error.reset) == (False, "launch", False)
    assert platform.tpm.read(17) == platform.tpm.read(18) == ONES
    assert event_log(platform) == b""


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (Tamper(LaunchComponent.LCP, 752), "lcp has bits 0 to 751, not 752"),
        (Tamper(LaunchComponent.VMM, -1), f"vmm has bits 0 to {measured_range(VMM).stop * 8 - 1}, not -1"),
    ],
)
def test_a_bit_that_the_component_does_not_have_is_refused(tamper: Tamper, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        attempt(tamper)


def test_the_loader_places_the_vmm_page_aligned_and_inside_what_it_reserves() -> None:
    platform = powered_on()
    loaded = place(platform, FILES)
    assert platform.memory.read(loaded.vmm.base, len(VMM)) == VMM
    assert loaded.reserved_base <= loaded.vmm.base < loaded.lcp.base < loaded.reserved_base + loaded.reserved_size
    assert loaded.reserved_size % (2 << 20) == 0


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            LaunchFiles(sinit_build.build_sinit(bytes(4 << 20), measure.MODEL_KEY), VMM, b""),
            "the SINIT module must fit the 3145728 bytes that the BIOS gives it",
        ),
        (
            LaunchFiles(SINIT, build_image({"large": bytes(48 << 20)}), b""),
            "the VMM must fit below the DPR at 0x3c00000",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(files: LaunchFiles, message: str) -> None:
    platform = powered_on()
    with pytest.raises(LoaderError, match=f"^{message}$"):
        place(platform, files)
    assert not any(platform.memory.read(Hpa(0x100_0000), 64))
