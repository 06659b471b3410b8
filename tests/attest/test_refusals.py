"""Every way that a machine could be taken for another, on a real TPM: refused for its own reason, no VM started.

One swtpm for all, reset between tests as a reboot does it.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed (needs Debian's libtss2-dev)")
pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed (Debian package swtpm)")

from tests.attest.gated import ISSUER, PLAN, FarVerifier, Machine, accepted, altered, enrolled, measured, supervised  # noqa: E402
from vafw.attest.evidence import Evidence, RootOfTrust  # noqa: E402
from vafw.attest.key import AttestationKey  # noqa: E402
from vafw.attest.reference import AcceptedValue  # noqa: E402
from vafw.clock import ManualClock  # noqa: E402
from vafw.errors import GateClosed, GateUnavailable  # noqa: E402
from vafw.provider.qemu.swtpm import Swtpm  # noqa: E402
from vafw.tcg import SHA1, SHA256, Event, EventType, PcrSelection, QuoteAttest, decode_log, encode_log  # noqa: E402
from vafw.tcg.public import attestation_key_area  # noqa: E402
from vafw.tcg.signature import encode_signature  # noqa: E402


@dataclass
class Lab:
    """One machine, its verifier, and what a test remembers between them."""

    machine: Machine
    verifier: FarVerifier

    @property
    def tpm(self) -> Swtpm:
        return self.machine.tpm

    @property
    def clock(self) -> ManualClock:
        return self.verifier.clock

    async def up(self) -> None:
        await supervised(self.machine, self.verifier).start()


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    made = Swtpm(tmp_path_factory.mktemp("tpm"))
    yield made
    made.close()


@pytest.fixture
def lab(tpm: Swtpm, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr("vafw.provider.qemu.launch.vmm_manifest", lambda: b"QEMU of a host that need not have one")
    tpm.reset()
    return Lab(Machine(tpm), FarVerifier(enrolled(tpm), ManualClock()))


async def test_a_machine_that_runs_what_is_accepted_is_started_whole(lab: Lab) -> None:
    await lab.up()
    assert lab.machine.started == [vm.name for vm in PLAN.vms]


# -- what a machine can do to its evidence --------------------------------------------------------------------


def signed_by(key: ec.EllipticCurvePrivateKey, evidence: Evidence, quote: bytes | None = None) -> Evidence:
    """The evidence with its quote, or another, signed by a key of software."""
    content = evidence.quote if quote is None else quote
    der = key.sign(content, ec.ECDSA(hashes.SHA256()))
    return altered(evidence, quote=content, signature=encode_signature(der))


SOFTWARE = ec.derive_private_key(7, ec.SECP256R1())


def requoted(lab: Lab, evidence: Evidence, banks: dict[int, tuple[int, ...]]) -> Evidence:
    """Well signed by the enrolled key of the TPM, over other registers."""
    nonce = QuoteAttest.decode(evidence.quote).nonce
    selection = PcrSelection.of(banks)
    quote, signature = lab.tpm.attester.quote(nonce, selection)
    values = dict(lab.tpm.read(selection))
    return altered(evidence, quote=quote, signature=signature, pcrs=values.pop(SHA256, {}), further_banks=values)


def retold(evidence: Evidence, change: Callable[[list[Event]], list[Event]]) -> Evidence:
    """With another log."""
    return altered(evidence, event_log=encode_log(change(list(decode_log(evidence.event_log))), (SHA256,)))


def other_value(event: Event) -> Event:
    return replace(event, digests={SHA256: bytes(31) + b"\1"})


def unrestricted(lab: Lab, evidence: Evidence) -> Evidence:
    """A key that signs whatever it is given, in the same TPM, has signed the very same quote."""
    from tpm2_pytss import TPM2_ALG, TPM2_RH, TPM2_ST
    from tpm2_pytss.types import (
        TPM2B_DIGEST,
        TPM2B_PUBLIC,
        TPM2B_SENSITIVE_CREATE,
        TPMT_PUBLIC,
        TPMT_SIG_SCHEME,
        TPMT_TK_HASHCHECK,
    )

    from vafw.attest.tss import ESYS_TR

    template = bytearray(attestation_key_area(0, 0))
    template[4:8] = (int.from_bytes(template[4:8], "big") & ~(1 << 16)).to_bytes(4, "big")
    area, _ = TPMT_PUBLIC.unmarshal(bytes(template))
    esapi = lab.tpm.attester.esapi
    handle, *_ = esapi.create_primary(TPM2B_SENSITIVE_CREATE(), TPM2B_PUBLIC(area), ESYS_TR.ENDORSEMENT)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(evidence.quote)
    ticket = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
    signature = esapi.sign(handle, TPM2B_DIGEST(digest.finalize()), TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL), ticket)
    esapi.flush_context(handle)
    return altered(evidence, signature=bytes(signature.marshal()))


EVIDENCE: dict[str, tuple[Callable[[Lab, Evidence], Evidence], str, str]] = {
    "wrong AK": (
        lambda lab, e: signed_by(SOFTWARE, e),
        "quote-signature",
        "the quote is not signed by the attestation key of this machine",
    ),
    "unrestricted AK": (
        unrestricted,
        "quote-signature",
        "the quote is not signed by the attestation key of this machine",
    ),
    "SHA-1 bank": (
        lambda lab, e: requoted(lab, e, {SHA1: (17, 18, 19)}),
        "pcr-selection",
        "the quote must cover PCR 17, 18 and 19 of the SHA-256 bank, and the same of any other bank",
    ),
    "narrowed selection": (
        lambda lab, e: requoted(lab, e, {SHA256: (19,)}),
        "pcr-selection",
        "the quote must cover PCR 17, 18 and 19 of the SHA-256 bank, and the same of any other bank",
    ),
    "extra PCR": (
        lambda lab, e: requoted(lab, e, {SHA256: (16, 17, 18, 19)}),
        "pcr-selection",
        "the quote must cover PCR 17, 18 and 19 of the SHA-256 bank, and the same of any other bank",
    ),
    "extra value": (
        lambda lab, e: altered(e, pcrs={**e.pcrs, 20: bytes(32)}),
        "pcr-values",
        "the evidence must report SHA-256 values of exactly the PCRs that were quoted",
    ),
    "wrong magic": (
        lambda lab, e: altered(e, quote=b"\0" + e.quote[1:]),
        "quote-format",
        "the quote is not one that a TPM made: TPMS_ATTEST, byte 0: "
        "the magic must be 0xff544347 (TPM_GENERATED), not 0x544347",
    ),
    "wrong type": (
        lambda lab, e: altered(e, quote=e.quote[:4] + b"\x80\x17" + e.quote[6:]),
        "quote-format",
        "the quote is not one that a TPM made: TPMS_ATTEST, byte 4: "
        "the type must be 0x8018 (TPM_ST_ATTEST_QUOTE), not 0x8017",
    ),
    "trailing bytes": (
        lambda lab, e: altered(e, quote=e.quote + b"\0"),
        "quote-format",
        "the quote is not one that a TPM made: TPMS_ATTEST, byte 145: nothing may follow the structure, and 1 B do",
    ),
    "trailing bytes of the signature": (
        lambda lab, e: altered(e, signature=e.signature + b"\0"),
        "quote-signature",
        "the signature is not one that a TPM made: TPMT_SIGNATURE, byte 72: "
        "nothing may follow the structure, and 1 B do",
    ),
    "all-zero PCR 17": (
        lambda lab, e: altered(e, pcrs={**e.pcrs, 17: bytes(32)}),
        "pcr-values",
        "the reported PCR values are not those that the TPM quoted",
    ),
    "log truncated": (
        lambda lab, e: altered(e, event_log=e.event_log[:-3]),
        "log-format",
        "the event log cannot be read: event log, byte 625: an event's data must have 18 bytes, and 15 are left",
    ),
    "log cut at an event": (
        lambda lab, e: retold(e, lambda events: events[:-1]),
        "log-replay",
        "the event log does not give PCR 19 (SHA-256): it leaves something out, adds something, or changes the order",
    ),
    "log reordered": (
        lambda lab, e: retold(e, lambda events: [*events[:-2], events[-1], events[-2]]),
        "log-replay",
        "the event log does not give PCR 19 (SHA-256): it leaves something out, adds something, or changes the order",
    ),
    "log padded": (
        lambda lab, e: retold(
            e, lambda events: [*events, Event(19, EventType.EV_IPL, {SHA256: bytes(32)}, b"vafw image x")]
        ),
        "log-events",
        "the event log speaks of something that is not about to run",
    ),
    "log with one digest changed": (
        lambda lab, e: retold(e, lambda events: [*events[:-1], other_value(events[-1])]),
        "log-replay",
        "the SHA-256 digest of the event was altered: PCR 19 (SHA-256) was extended with another",
    ),
    "log with one description changed": (
        lambda lab, e: retold(e, lambda events: [events[0], replace(events[1], data=b"{}"), *events[2:]]),
        "log-events",
        "the data of the event was altered: its digests were computed over something else",
    ),
}


@pytest.mark.parametrize("case", EVIDENCE)
async def test_evidence_that_was_altered_is_refused(lab: Lab, case: str) -> None:
    alter, claim, reason = EVIDENCE[case]
    lab.machine.alter = lambda evidence: alter(lab, evidence)
    await refused(lab, claim, reason)


async def refused(lab: Lab, claim: str, reason: str) -> None:
    """The gate stays closed for this reason, and nothing was started."""
    supervisor = supervised(lab.machine, lab.verifier)
    with pytest.raises(GateClosed, match=f"^{re.escape(reason)}$"):
        await supervisor.start()
    assert lab.machine.started == []
    attested = supervisor.snapshot().attestation
    assert attested is not None
    assert (attested.first_failure.name if attested.first_failure else "") == claim


async def test_a_nonce_that_was_answered_before_is_refused(lab: Lab) -> None:
    await lab.up()
    nonce = lab.verifier.verifier.challenge()
    evidence = lab.machine.launched.evidence(nonce)
    await lab.verifier.appraise(evidence, nonce, PLAN)
    lab.machine.started.clear()
    lab.machine.alter = lambda _fresh: evidence
    await refused(lab, "nonce", "the quote answers another challenge: it may be an old one, played back")
    again = lab.verifier.verifier.appraise(evidence, nonce, PLAN.digest, {}, ())
    assert again.claims[0].reason == "the nonce must be one that this verifier gave out and that nobody has used"


async def test_a_quote_from_before_a_reset_is_refused(lab: Lab) -> None:
    """Right nonce, right key, same registers: asked for and quoted before the reboot, handed over after it."""
    machine = lab.machine
    nonce = lab.verifier.verifier.challenge()
    await machine.launch()
    held = await machine.evidence(nonce)
    lab.tpm.reset()
    lab.machine = Machine(lab.tpm)
    await lab.up()
    lab.machine.started.clear()
    result = (await lab.verifier.appraise(held, nonce, PLAN)).result
    assert result.first_failure is not None
    assert (
        result.first_failure.reason
        == "the quote is older than one already seen of this machine, by the TPM's own counts"
    )
    assert lab.machine.started == []


async def test_a_software_key_that_says_it_is_of_the_real_tpm_is_refused(lab: Lab) -> None:
    """Enrolment refuses it (`test_enrolment`); here whoever skips that signs a quote made up with the right values."""
    lab.machine.alter = lambda e: signed_by(
        SOFTWARE, e, replace(QuoteAttest.decode(e.quote), firmware_version=1).encode()
    )
    assert AttestationKey.of(SOFTWARE.public_key()).name != lab.verifier.identity.ak.name
    await refused(lab, "quote-signature", "the quote is not signed by the attestation key of this machine")


async def test_a_machine_that_was_booted_without_a_launch_is_refused(lab: Lab) -> None:
    async def no_launch() -> tuple[()]:
        return ()

    lab.machine.launch = no_launch  # type: ignore[method-assign]  # SRTM only: nothing did the hash sequence
    await refused(
        lab,
        "measured-launch",
        "no measured launch took place: PCR 17 is all ones, as it is from power on until a launch",
    )


async def test_registers_of_all_ones_under_a_log_that_speaks_of_a_launch_are_refused(lab: Lab) -> None:
    await lab.machine.launch()
    told = lab.machine.launched.evidence(b"").event_log
    lab.tpm.reset()
    lab.machine = Machine(lab.tpm, lambda e: altered(e, event_log=told, root_of_trust=RootOfTrust.SOFTWARE_LAUNCH))

    async def no_launch() -> tuple[()]:
        return ()

    lab.machine.launch = no_launch  # type: ignore[method-assign]
    await refused(
        lab,
        "measured-launch",
        "no measured launch took place: PCR 17 is all ones, as it is from power on until a launch",
    )


async def test_the_log_of_another_boot_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.machine.launch()
    told = lab.machine.launched.evidence(b"").event_log
    lab.tpm.reset()
    monkeypatch.setattr("vafw.provider.qemu.launch.vmm_manifest", lambda: b"another QEMU")
    lab.machine = Machine(lab.tpm, lambda evidence: altered(evidence, event_log=told))
    await refused(
        lab,
        "log-replay",
        "the event log does not give PCR 18 (SHA-256): it leaves something out, adds something, or changes the order",
    )


# -- what reference values and policy say ---------------------------------------------------------------------


async def test_a_launcher_that_was_revoked_is_refused(lab: Lab) -> None:
    value = AcceptedValue(measured().launcher, revoked="CVE-2026-0001 lets it skip a measurement")
    lab.verifier = FarVerifier(lab.verifier.identity, lab.clock, accepted(launcher=value))
    await refused(lab, "sinit", "the SINIT module was revoked: CVE-2026-0001 lets it skip a measurement")


async def test_a_component_whose_time_is_over_is_refused(lab: Lab) -> None:
    value = AcceptedValue(measured().vmm, valid_until=lab.clock.wall())
    lab.clock.advance(1)
    lab.verifier = FarVerifier(lab.verifier.identity, lab.clock, accepted(vmm=value))
    await refused(lab, "vmm", "the VMM was accepted until 2026-01-01, and is no more")


async def test_an_old_component_is_refused_or_warned_of_as_the_policy_says(lab: Lab) -> None:
    old = accepted(vmm=AcceptedValue(measured().vmm, superseded=True))
    lab.verifier = FarVerifier(lab.verifier.identity, lab.clock, old)
    await refused(lab, "vmm", "the VMM is an old one that is still accepted")
    lab.tpm.reset()
    plan = replace(PLAN, launch=replace(PLAN.launch, accept_old=True))
    machine = Machine(lab.tpm, plan=plan)
    await supervised(machine, FarVerifier(lab.verifier.identity, lab.clock, old), plan).start()
    assert machine.started == [vm.name for vm in plan.vms]


async def test_a_launch_in_software_is_refused_where_the_policy_asks_for_txt(lab: Lab) -> None:
    plan = replace(PLAN, launch=replace(PLAN.launch, require_txt=True))
    lab.machine.plan = plan
    with pytest.raises(GateClosed, match=r"^the policy asks for a launch by txt, and this one was by software-launch$"):
        await supervised(lab.machine, lab.verifier, plan).start()
    assert lab.machine.started == []


# -- what happens between the quote and the start -------------------------------------------------------------


async def test_an_image_that_is_swapped_after_the_quote_is_refused(lab: Lab) -> None:
    def swap() -> None:
        firewall = lab.machine.images["firewall"]
        lab.machine.images["firewall"] = replace(firewall, initramfs=b"another firewall")

    lab.verifier.after = swap
    with pytest.raises(GateClosed, match=r"^image firewall was changed after it was measured: \w+ is about to start$"):
        await lab.up()
    assert lab.machine.started == []


async def test_a_plan_that_is_edited_after_the_quote_is_refused(lab: Lab) -> None:
    def edit() -> None:
        lab.machine.plan = replace(PLAN, name="another")

    lab.verifier.after = edit
    with pytest.raises(GateClosed, match=r"^the topology was changed after it was measured: "):
        await lab.up()
    assert lab.machine.started == []


async def test_a_result_that_is_used_after_a_reboot_is_refused(lab: Lab) -> None:
    lab.verifier.after = lab.tpm.reset
    with pytest.raises(
        GateClosed, match=r"^the machine was reset or restarted since it was attested: the result is of another boot$"
    ):
        await lab.up()
    assert lab.machine.started == []


async def test_a_reboot_between_two_vms_closes_the_gate_refused(lab: Lab) -> None:
    first = lab.machine.start

    async def start_and_reboot(vm: str) -> object:
        health = await first(vm)
        lab.tpm.reset()
        return health

    lab.machine.start = start_and_reboot  # type: ignore[method-assign,assignment]
    with pytest.raises(GateClosed, match=r"^the machine was reset or restarted since it was attested: "):
        await lab.up()
    assert lab.machine.started == [PLAN.vms[0].name]


# -- what a verifier can do -----------------------------------------------------------------------------------


async def test_a_verifier_that_crashes_is_refused(lab: Lab) -> None:
    def crash() -> None:
        raise MemoryError("no more")

    lab.verifier.before = crash
    with pytest.raises(GateUnavailable, match=r"^no attestation could be had: no more$"):
        await lab.up()
    assert lab.machine.started == []


async def test_a_verifier_that_does_not_answer_in_time_is_refused(lab: Lab) -> None:
    def hang() -> None:
        raise TimeoutError  # what asyncio.timeout makes of it

    lab.verifier.before = hang
    with pytest.raises(GateUnavailable, match=r"^no attestation could be had: the platform did not answer in time$"):
        await lab.up()
    assert lab.machine.started == []


def unsigned(token: str) -> str:
    """The same claims under `alg: none`."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


def affirming(token: str) -> str:
    """The same signature under claims that say more."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["exp"] += 3600
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{signature}"


@pytest.mark.parametrize("forge", [unsigned, affirming, lambda token: "", lambda token: token[:-4]])
async def test_a_result_that_the_verifier_did_not_sign_is_refused(lab: Lab, forge: Callable[[str], str]) -> None:
    lab.verifier.on_token = forge
    with pytest.raises(GateClosed, match=f"^the attestation result is not signed by {ISSUER}: "):
        await lab.up()
    assert lab.machine.started == []


async def test_a_result_that_expired_is_refused(lab: Lab) -> None:
    lab.verifier.after = lambda: lab.clock.advance(61)
    with pytest.raises(GateClosed, match=r"^the attestation result must be at most 60 s old, not 61 s$"):
        await lab.up()
    assert lab.machine.started == []


async def test_a_result_for_another_audience_is_refused(lab: Lab) -> None:
    lab.verifier.audience = "another-laptop"
    with pytest.raises(GateClosed, match=r"^the attestation result must be for office-laptop, not for another-laptop$"):
        await lab.up()
    assert lab.machine.started == []


async def test_a_result_of_an_earlier_start_is_refused(lab: Lab) -> None:
    kept: list[str] = []

    def keep(token: str) -> str:
        kept.append(token)
        return token

    lab.verifier.on_token = keep
    await lab.up()
    lab.machine = Machine(lab.tpm)
    lab.tpm.reset()
    lab.verifier.on_token = lambda _token: kept[0]
    with pytest.raises(GateClosed, match=r"^the attestation result must answer the nonce of this start$"):
        await lab.up()
    assert lab.machine.started == []
