from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.attest.launched import IMAGES, PLAN, REFERENCE, SINIT, VMM, Desk, Machine, launched, powered_on
from vafw.attest.accepted import Acceptance
from vafw.attest.claims import affirmed
from vafw.attest.evidence import Evidence, LaunchError, RootOfTrust
from vafw.attest.expectation import Expectation
from vafw.attest.key import AttestationKey
from vafw.attest.result import AttestationResult, Claim, Tier
from vafw.attest.verifier import Verifier, _unclaimed
from vafw.clock import ManualClock
from vafw.tcg import SHA1, SHA256
from vafw.tcg.algorithms import digest


def refusal(result: AttestationResult) -> Claim:
    assert result.tier is Tier.CONTRAINDICATED
    assert result.first_failure is not None
    return result.first_failure


def test_a_machine_that_runs_what_is_accepted_is_affirmed() -> None:
    desk = Desk(launched())
    result = desk.ask()
    assert [claim.name for claim in result.claims if claim.tier is not Tier.AFFIRMING] == []
    assert result.tier is Tier.AFFIRMING
    assert result.plan_digest == digest(SHA256, PLAN)
    assert result.pcrs == {pcr: desk.machine.tpm.read(pcr) for pcr in (17, 18, 19)}
    assert (result.reset_count, result.restart_count, result.root_of_trust) == (1, 1, "model")
    assert result.appraised_at == desk.clock.wall()


def test_every_claim_has_a_reason_and_every_component_has_a_claim() -> None:
    result = Desk(launched()).ask()
    assert all(claim.reason for claim in result.claims)
    assert [claim.name for claim in result.claims][-7:] == [
        "sinit", "vmm", "plan", "topology", "policy", "image firewall", "image desktop"
    ]  # fmt: skip


def test_a_nonce_is_good_for_one_answer() -> None:
    desk = Desk(launched())
    nonce = desk.verifier.challenge()
    evidence = desk.machine.evidence(nonce)
    assert desk.appraise(evidence, nonce).tier is Tier.AFFIRMING
    claim = refusal(desk.appraise(evidence, nonce))
    assert (claim.name, claim.component) == ("challenge", "nonce")
    assert claim.reason == "the nonce must be one that this verifier gave out and that nobody has used"


def test_a_refused_answer_uses_the_nonce_up_as_well() -> None:
    desk = Desk(launched())
    nonce = desk.verifier.challenge()
    evidence = desk.machine.evidence(nonce)
    refusal(desk.appraise(replace(evidence, signature=b""), nonce))
    assert refusal(desk.appraise(evidence, nonce)).name == "challenge"


def test_an_answer_that_comes_too_late_is_refused() -> None:
    desk = Desk(launched())
    nonce = desk.verifier.challenge()
    desk.clock.advance(121)
    claim = refusal(desk.appraise(desk.machine.evidence(nonce), nonce))
    assert claim.reason == "the evidence must come within 120 s of the challenge, not after 121 s"


def test_an_old_quote_for_a_new_challenge_is_refused() -> None:
    desk = Desk(launched())
    old = desk.machine.evidence(desk.verifier.challenge())
    claim = refusal(desk.appraise(old, desk.verifier.challenge()))
    assert claim.name == "nonce"
    assert claim.reason == "the quote answers another challenge: it may be an old one, played back"


def test_the_oldest_open_challenge_is_forgotten_when_too_many_are_open() -> None:
    desk = Desk(launched())
    first = desk.verifier.challenge()
    second = desk.verifier.challenge()
    for _ in range(255):
        desk.verifier.challenge()
    assert refusal(desk.appraise(desk.machine.evidence(first), first)).name == "challenge"
    assert desk.appraise(desk.machine.evidence(second), second).tier is Tier.AFFIRMING


def test_another_key_is_refused() -> None:
    desk = Desk(launched())
    desk.verifier = Verifier(
        REFERENCE, AttestationKey.of(ec.generate_private_key(ec.SECP256R1()).public_key()), desk.clock, bytes
    )
    claim = refusal(desk.ask())
    assert claim.name == "quote-signature"
    assert claim.reason == "the quote is not signed by the attestation key of this machine"


def test_a_machine_that_was_never_launched_is_refused() -> None:
    claim = refusal(Desk(powered_on()).ask(event_log=b""))
    assert (claim.name, claim.component) == ("measured-launch", "launch")
    assert claim.reason == ("no measured launch took place: PCR 17 is all ones, as it is from power on until a launch")
    assert claim.found == "ff" * 32


def test_a_launch_that_was_broken_off_is_refused_with_its_cause() -> None:
    cause = LaunchError("sinit", "the SINIT module is not signed by Intel's key", 0xC0000007, "aa", "bb")
    claim = refusal(Desk(powered_on()).ask(event_log=b"", launch_error=cause))
    assert (claim.component, claim.expected, claim.found) == ("sinit", "aa", "bb")
    assert claim.reason == (
        "no measured launch took place: the SINIT module is not signed by Intel's key (TXT.ERRORCODE 0xc0000007)"
    )


def test_a_launch_that_was_skipped_has_no_error_code() -> None:
    cause = LaunchError("launch", "GETSEC[SENTER] was not executed", 0)
    claim = refusal(Desk(powered_on()).ask(event_log=b"", launch_error=cause))
    assert claim.reason == "no measured launch took place: GETSEC[SENTER] was not executed"


def test_evidence_that_names_no_root_of_trust_is_refused() -> None:
    claim = refusal(Desk(launched()).ask(root_of_trust=RootOfTrust.NONE))
    assert claim.reason == "no measured launch took place: the evidence names no root of trust that began it"


def test_a_quote_from_before_the_latest_boot_is_refused() -> None:
    desk = Desk(launched())
    older = desk.verifier.challenge()
    evidence = desk.machine.evidence(older)
    desk.machine.tpm.power_cycle()
    desk.machine.tpm.startup()
    relaunch(desk)
    assert desk.ask().tier is Tier.AFFIRMING
    claim = refusal(desk.appraise(evidence, older))
    assert (claim.name, claim.expected, claim.found) == (
        "boot", "reset 2 restart 1 clock 0 ms", "reset 1 restart 1 clock 0 ms"
    )  # fmt: skip


def relaunch(desk: Desk, controls: bytes = bytes(4)) -> None:
    """The same launch once more, on the same TPM."""
    machine = desk.machine
    history = machine.events[2:]
    machine.events.clear()
    machine.hash_start(SINIT, controls)
    for event in history:
        machine.tpm.extend(event.pcr, event.digests, 2)
        machine.events.append(event)


def test_a_clock_that_is_not_safe_is_refused() -> None:
    desk = Desk(launched())
    desk.machine.tpm.advance(5000)
    desk.machine.tpm.power_cycle()
    desk.machine.tpm.startup()
    relaunch(desk)
    claim = refusal(desk.ask())
    assert (claim.name, claim.expected, claim.found) == ("boot", "safe 1", "safe 0")


@pytest.mark.parametrize("evidence", [None, 42, "evidence"])
def test_what_is_no_evidence_at_all_is_refused_without_an_exception(evidence: Evidence) -> None:
    desk = Desk(launched())
    claim = refusal(desk.appraise(evidence, desk.verifier.challenge()))
    assert (claim.name, claim.component) == ("appraisal", "verifier")


@pytest.mark.parametrize(
    "changes",
    [
        {"pcrs": None},
        {"pcrs": {17: "text", 18: "text", 19: "text"}},
        {"pcrs": {}},
        {"event_log": None},
        {"quote": None},
        {"signature": 7},
        {"further_banks": None},
        {"further_banks": {SHA1: {17: b""}}},
    ],
)
def test_evidence_of_the_wrong_types_is_refused_without_an_exception(changes: dict[str, object]) -> None:
    refusal(Desk(launched()).ask(**changes))


def test_a_verifier_without_reference_values_refuses_everything() -> None:
    nothing = replace(REFERENCE, sinit=(), vmm=(), images={})
    result = Desk(launched(), nothing).ask()
    refused = {claim.name for claim in result.claims if claim.tier is not Tier.AFFIRMING}
    assert refused == {"sinit", "vmm", "image firewall", "image desktop"}
    assert refusal(result).reason == "there is no reference value of the SINIT module, and it was measured"


def test_the_vmm_of_another_build_is_refused() -> None:
    claim = refusal(Desk(launched(vmm=b"the VMM, one bit off")).ask())
    assert (claim.name, claim.component, claim.event) == ("vmm", "vmm", "#10 PCR 17 MLE_HASH")
    assert claim.reason == "the VMM is none of those that the reference values accept"
    assert claim.expected == digest(SHA256, VMM).hex()
    assert claim.found == digest(SHA256, b"the VMM, one bit off").hex()


def test_another_sinit_is_refused() -> None:
    other = digest(SHA256, b"an old SINIT module")
    claim = refusal(Desk(launched(sinit=other)).ask())
    assert (claim.component, claim.event) == ("sinit", "#2 PCR 17 HASH_START")
    assert (claim.expected, claim.found) == (SINIT.hex(), other.hex())


def test_control_bits_of_senter_are_refused() -> None:
    desk = Desk(launched())
    relaunch(desk, b"\x01\0\0\0")
    claim = refusal(desk.ask())
    assert (claim.component, claim.expected, claim.found) == ("sinit", "00000000", "01000000")


@pytest.mark.parametrize(
    ("machine", "component"),
    [
        (launched(plan=b"another plan"), "plan"),
        (launched(documents={"topology": b"another", "policy": b"kind: policy"}), "topology"),
        (launched(documents={"topology": b"kind: topology", "policy": b"another"}), "policy"),
        (launched(images={**IMAGES, "firewall": b"with a back door"}), "image firewall"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_component_that_is_not_the_expected_one_is_refused(machine: Machine, component: str) -> None:
    result = Desk(machine).ask()
    claim = refusal(result)
    assert (claim.name, claim.component) == (component, component)
    assert claim.expected
    assert claim.found
    assert claim.expected != claim.found
    assert sum(each.tier is not Tier.AFFIRMING for each in result.claims) == 1


@pytest.mark.parametrize(
    ("machine", "component"),
    [
        (launched(documents={"topology": b"kind: topology"}), "policy"),
        (launched(images={"firewall": IMAGES["firewall"]}), "image desktop"),
    ],
    ids=["policy", "image"],
)
def test_a_component_that_the_log_does_not_speak_of_is_refused(machine: Machine, component: str) -> None:
    claim = refusal(Desk(machine).ask())
    assert claim.component == component
    assert claim.reason.startswith("the event log says nothing of ")


def test_an_image_of_the_plan_without_a_reference_value_is_refused() -> None:
    claim = refusal(Desk(launched(), replace(REFERENCE, images={"firewall": REFERENCE.images["firewall"]})).ask())
    assert claim.component == "image desktop"
    assert claim.reason == "there is no reference value of image desktop, and it was measured"


def test_an_image_that_is_not_in_the_plan_is_refused() -> None:
    claim = refusal(Desk(launched(images={**IMAGES, "keylogger": b"?"})).ask())
    assert (claim.component, claim.found) == ("log", "vafw image keylogger")
    assert claim.reason == "the event log speaks of something that is not about to run"


def test_a_claim_that_was_never_made_is_a_refusal() -> None:
    acceptance = Acceptance(REFERENCE, Expectation(b"", {}, ("firewall",)))
    missing = _unclaimed([affirmed("vmm", "it holds")], acceptance)
    assert {claim.tier for claim in missing} == {Tier.CONTRAINDICATED}
    assert {"quote-signature", "log-replay", "sinit", "image firewall"} <= {claim.name for claim in missing}
    assert "vmm" not in {claim.name for claim in missing}


def test_a_fault_of_the_verifier_itself_never_affirms() -> None:
    desk = Desk(launched())
    broken = replace(REFERENCE, vmm=(None,))  # type: ignore[arg-type]
    desk.verifier = Verifier(broken, AttestationKey(desk.machine.tpm.ak_area), ManualClock(), bytes)
    claim = refusal(desk.ask())
    assert claim.name == "appraisal"
    assert claim.reason.startswith("the appraisal could not be finished: AttributeError: ")
