"""swtpm as this platform drives it, and the launch that is done on it, judged by the same verifier as the model's."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.provider.qemu.office import office_plan
from vafw.attest.enrolment import Enrolments, Registrar
from vafw.attest.evidence import RootOfTrust
from vafw.attest.key import AttestationKey
from vafw.attest.ledger import Ledger
from vafw.attest.reference import AcceptedValue, ReferenceValues
from vafw.attest.result import AttestationResult, Tier
from vafw.attest.verifier import Verifier
from vafw.clock import ManualClock
from vafw.errors import PlatformUnable
from vafw.plan.plan import Plan
from vafw.tcg.attest import QuoteAttest

pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed (needs Debian's libtss2-dev)")
pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed (Debian package swtpm)")

from vafw.provider.qemu.enrolment import enrol  # noqa: E402
from vafw.provider.qemu.image import GuestImage  # noqa: E402
from vafw.provider.qemu.launch import SELECTION, Measurements, SoftwareLaunch, launcher_digest, measure  # noqa: E402
from vafw.provider.qemu.swtpm import Swtpm  # noqa: E402
from vafw.tcg.algorithms import SHA256, extended  # noqa: E402

IMAGES = tuple(GuestImage(name, b"kernel", name.encode()) for name in ("firewall", "dns-filter", "desktop"))
ONE_BIT = bytes((1, *bytes(31)))


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[Swtpm]:
    made = Swtpm(tmp_path / "tpm")
    yield made
    made.close()


@pytest.fixture
def vmm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launch of a host without QEMU: what runs the VMs is four bytes."""
    monkeypatch.setattr("vafw.provider.qemu.launch.vmm_manifest", lambda: b"QEMU")


def test_the_hash_sequence_gives_the_known_value_and_begins_the_dynamic_registers_anew(tpm: Swtpm) -> None:
    before = tpm.read(SELECTION)[SHA256]
    tpm.hash_sequence(b"SINIT-AND-MLE")
    after = tpm.read(SELECTION)[SHA256]
    assert set(before.values()) == {b"\xff" * 32}
    assert after[17].hex() == "1092cd5ca3dd592de0be8c0c11f2abddfff8c8982b135a1f84d9a4e59c655be6"
    assert after[18] == after[19] == bytes(32)


def test_each_locality_extends_what_it_may_and_nothing_else(tpm: Swtpm) -> None:
    tpm.hash_sequence(b"x")
    tpm.extend(18, {SHA256: ONE_BIT}, 3)
    tpm.extend(19, {SHA256: ONE_BIT}, 2)
    assert tpm.read(SELECTION)[SHA256][19] == extended(SHA256, bytes(32), ONE_BIT)
    with pytest.raises(PlatformUnable, match=r"^the TPM refuses to extend PCR 18 at locality 0: .*bad locality$"):
        tpm.extend(18, {SHA256: ONE_BIT}, 0)


def test_the_key_is_the_same_in_each_life_and_the_counts_are_real(tmp_path: Path) -> None:
    keys, resets = [], []
    for _ in range(3):
        tpm = Swtpm(tmp_path / "tpm")
        keys.append(tpm.attester.offer())
        resets.append(QuoteAttest.decode(tpm.attester.quote(b"n", SELECTION)[0]).clock_info.reset_count)
        tpm.close()
    assert len(set(keys)) == 1
    assert resets == [1, 2, 3]


def test_after_a_power_cut_the_clock_is_safe_again_and_later_than_before(tmp_path: Path) -> None:
    cut = Swtpm(tmp_path / "tpm")
    before = QuoteAttest.decode(cut.attester.quote(b"n", SELECTION)[0]).clock_info
    os.kill(cut.pid, signal.SIGKILL)
    cut.close()
    tpm = Swtpm(tmp_path / "tpm")
    after = QuoteAttest.decode(tpm.attester.quote(b"n", SELECTION)[0]).clock_info
    tpm.close()
    assert after.safe
    assert (after.reset_count, after.clock_ms > before.clock_ms) == (before.reset_count + 1, True)


def test_a_tpm_that_was_killed_gives_no_quote_refused(tpm: Swtpm) -> None:
    os.kill(tpm.pid, signal.SIGKILL)
    with pytest.raises(PlatformUnable, match=r"^the TPM must quote, and does not: "):
        tpm.attester.quote(b"n", SELECTION)
    with pytest.raises(PlatformUnable, match=r"^the TPM must answer HASH_START, and is gone: "):
        tpm.hash_sequence(b"x")


def enrolled(folder: Path) -> AttestationKey:
    """The key of the TPM in the folder, after an enrolment that no ledger keeps."""
    clock = ManualClock()
    return enrol("office", folder, Registrar(Enrolments(Ledger(None, clock)), clock, Random(2).randbytes)).ak


def appraised(
    tmp_path: Path,
    plan: Plan,
    *,
    images: tuple[GuestImage, ...] = IMAGES,
    accepted: Measurements | None = None,
    key: AttestationKey | None = None,
) -> AttestationResult:
    """What the verifier says of a launch of `images`, where it accepts IMAGES and what else there is now."""
    accepted = accepted or measure(IMAGES)
    values = {name: (AcceptedValue(digest),) for name, digest in accepted.images.items()}
    reference = ReferenceValues("r", (AcceptedValue(accepted.launcher),), (AcceptedValue(accepted.vmm),), values)
    verifier = Verifier(reference, (key or enrolled(tmp_path)), ManualClock(), Random(1).randbytes)
    tpm = Swtpm(tmp_path / "tpm")
    try:
        launch = SoftwareLaunch(tpm)
        launch.begin()
        launch.measure_plan(plan, images)
        nonce = verifier.challenge()
        documents = {kind: plan.documents[kind] for kind in ("topology", "policy")}
        names = tuple(image.name for image in IMAGES)
        return verifier.appraise(launch.evidence(nonce), nonce, plan.digest, documents, names, plan_name=plan.name)
    finally:
        tpm.close()


@pytest.mark.usefixtures("vmm")
def test_the_verifier_of_the_model_believes_a_software_launch_and_says_so(tmp_path: Path) -> None:
    result = appraised(tmp_path, office_plan())
    assert (result.tier, result.root_of_trust) == (Tier.AFFIRMING, RootOfTrust.SOFTWARE_LAUNCH.value)
    assert [claim.name for claim in result.claims][-8:] == [
        *("sinit", "vmm", "plan", "topology", "policy"),
        *("image firewall", "image dns-filter", "image desktop"),
    ]


@pytest.mark.usefixtures("vmm")
@pytest.mark.parametrize("number", range(3))
def test_a_bit_of_an_image_is_found_and_named_refused(tmp_path: Path, number: int) -> None:
    altered = list(IMAGES)
    altered[number] = replace(IMAGES[number], initramfs=IMAGES[number].initramfs[:-1] + b"?")
    failed = appraised(tmp_path, office_plan(), images=tuple(altered)).first_failure
    assert failed is not None
    assert (failed.component, failed.found) == (f"image {IMAGES[number].name}", altered[number].digest.hex())


@pytest.mark.usefixtures("vmm")
def test_another_launcher_or_another_qemu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, known = office_plan(), measure(IMAGES)
    monkeypatch.setattr("vafw.provider.qemu.launch.vmm_manifest", lambda: b"another QEMU")
    failed = appraised(tmp_path, plan, accepted=known).first_failure
    monkeypatch.setattr("vafw.provider.qemu.launch.launcher_digest", lambda: ONE_BIT)
    worse = appraised(tmp_path, plan, accepted=known).first_failure
    assert failed is not None
    assert worse is not None
    assert (failed.component, worse.component) == ("vmm", "sinit")
    assert worse.found == ONE_BIT.hex() != launcher_digest().hex()


@pytest.mark.usefixtures("vmm")
def test_a_tpm_that_was_replaced_after_its_enrolment_is_refused(tmp_path: Path) -> None:
    key = enrolled(tmp_path)
    shutil.rmtree(tmp_path / "tpm")
    failed = appraised(tmp_path, office_plan(), key=key).first_failure
    assert failed is not None
    assert (failed.name, failed.reason) == (
        "quote-signature",
        "the quote is not signed by the attestation key of this machine",
    )
