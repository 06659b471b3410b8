"""Appraising the quote: is it a TPM's, is it ours, is it fresh, does it cover what was reported.

Nothing here looks at what was measured. Each function makes one claim, in the order in which `vafw.attest.verifier`
asks: a later one may rely on the earlier ones having been affirmed. The hard part is what a well-signed quote can still
be: of another bank, of fewer registers, of an earlier boot, for another nonce.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidSignature

from vafw.attest.claims import affirmed, refused
from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.key import AttestationKey
from vafw.attest.result import Claim
from vafw.tcg.algorithms import DIGEST_SIZES, SHA256, algorithm_name, computable
from vafw.tcg.attest import ClockInfo, QuoteAttest
from vafw.tcg.selection import LAUNCH_PCRS, PcrSelection
from vafw.wire import FormatError

_ONES: Final = b"\xff" * 32
_REQUIRED: Final = PcrSelection.of({SHA256: LAUNCH_PCRS})


def read_quote(evidence: Evidence) -> tuple[Claim, QuoteAttest | None]:
    """Whether the bytes are a quote: magic, type, lengths, nothing after the end."""
    try:
        quote = QuoteAttest.decode(evidence.quote)
    except FormatError as error:
        return refused("quote-format", f"the quote is not one that a TPM made: {error}", component="quote"), None
    return affirmed("quote-format", "the quote is a TPMS_ATTEST of type quote", component="quote"), quote


def appraise_signature(evidence: Evidence, ak: AttestationKey) -> Claim:
    """Whether the enrolled attestation key signed these very bytes, with its own scheme over SHA-256."""
    name, component = "quote-signature", "quote"
    try:
        ak.verify(evidence.quote, evidence.signature)
    except FormatError as error:
        return refused(name, f"the signature is not one that a TPM made: {error}", component=component)
    except InvalidSignature:
        return refused(name, "the quote is not signed by the attestation key of this machine", component=component)
    return affirmed(name, "the attestation key of this machine signed the quote", component=component)


def appraise_signer(quote: QuoteAttest, ak: AttestationKey) -> Claim:
    """Whether the key was made under the endorsement hierarchy: under another, a quote's counts are obfuscated."""
    name, component = "quote-signer", "quote"
    if quote.qualified_signer != ak.qualified_name:
        reason = "the attestation key must be a primary key of the endorsement hierarchy, or the boot cannot be told"
        expected, found = ak.qualified_name.hex(), quote.qualified_signer.hex()
        return refused(name, reason, component=component, expected=expected, found=found)
    return affirmed(name, "the attestation key is a primary key of the endorsement hierarchy", component=component)


def appraise_nonce(quote: QuoteAttest, nonce: bytes) -> Claim:
    """Whether the quote answers this challenge."""
    if quote.nonce != nonce:
        reason = "the quote answers another challenge: it may be an old one, played back"
        return refused("nonce", reason, component="quote", expected=nonce.hex(), found=quote.nonce.hex())
    return affirmed("nonce", "the quote answers the challenge", component="quote", found=nonce.hex())


def appraise_selection(quote: QuoteAttest) -> Claim:
    """Whether the quote covers PCR 17, 18 and 19 of the SHA-256 bank, and of any other bank the same registers."""
    name, component = "pcr-selection", "quote"
    banks = dict(quote.selection.banks)
    whole = SHA256 in banks and len(banks) == len(quote.selection.banks)
    if not whole or any(pcrs != LAUNCH_PCRS for pcrs in banks.values()):
        return refused(
            name,
            "the quote must cover PCR 17, 18 and 19 of the SHA-256 bank, and the same of any other bank",
            component=component,
            expected=str(_REQUIRED),
            found=str(quote.selection),
        )
    return affirmed(name, f"the quote covers {quote.selection}", component=component)


def appraise_values(quote: QuoteAttest, evidence: Evidence) -> Claim:
    """Whether the reported PCR values are those that the quote's digest was made of, and no others are reported."""
    name, component = "pcr-values", "pcrs"
    reported = {**evidence.further_banks, SHA256: evidence.pcrs}
    for algorithm, pcrs in quote.selection.banks:
        bank = reported.pop(algorithm, {})
        sizes = {pcr: len(value) for pcr, value in bank.items()}
        if not computable(algorithm) or sizes != dict.fromkeys(pcrs, DIGEST_SIZES[algorithm]):
            reason = f"the evidence must report {algorithm_name(algorithm)} values of exactly the PCRs that were quoted"
            return refused(name, reason, component=component, expected=_list(pcrs), found=_list(bank))
    if reported:
        names = ", ".join(map(algorithm_name, reported))
        return refused(name, f"the quote covers no PCR of {names}, and values are reported", component=component)
    digest = quote.selection.digest(SHA256, {**evidence.further_banks, SHA256: evidence.pcrs})
    if digest != quote.pcr_digest:
        reason = "the reported PCR values are not those that the TPM quoted"
        return refused(name, reason, component=component, expected=quote.pcr_digest.hex(), found=digest.hex())
    return affirmed(name, "the reported PCR values are those that the TPM quoted", component=component)


def appraise_launch(evidence: Evidence) -> Claim:
    """Whether a measured launch took place at all; where it did not, what broke it off."""
    name = "measured-launch"
    error = evidence.launch_error
    if evidence.pcrs[17] != _ONES and evidence.root_of_trust is not RootOfTrust.NONE and error is None:
        root = evidence.root_of_trust.value
        return affirmed(name, f"a hash sequence at locality 4 began the launch ({root})", component="launch")
    if error is not None:
        code = f" (TXT.ERRORCODE {error.error_code:#010x})" if error.error_code else ""
        reason = f"no measured launch took place: {error.reason}{code}"
        return refused(name, reason, component=error.component, expected=error.expected, found=error.found)
    reason = "no measured launch took place: PCR 17 is all ones, as it is from power on until a launch"
    if evidence.pcrs[17] != _ONES:
        reason = "no measured launch took place: the evidence names no root of trust that began it"
    return refused(
        name,
        reason,
        component="launch",
        expected="PCR 17 set by a hash sequence at locality 4",
        found=evidence.pcrs[17].hex(),
    )


def appraise_boot(quote: QuoteAttest, latest: ClockInfo | None) -> Claim:
    """Whether the quote was made after every quote seen before, by the TPM's own counts."""
    name, component = "boot", "quote"
    found = quote.clock_info
    if not found.safe:
        reason = "the TPM's clock is not safe after a power cut: it may run through times it already signed"
        return refused(name, reason, component=component, expected="safe 1", found="safe 0")
    if latest is not None and _moment(found) < _moment(latest):
        reason = "the quote is older than one already seen of this machine, by the TPM's own counts"
        return refused(name, reason, component=component, expected=_describe(latest), found=_describe(found))
    reason = f"TPM reset {found.reset_count}, restart {found.restart_count}, and no later quote was seen"
    return affirmed(name, reason, component=component, found=_describe(found))


def appraise_firmware(quote: QuoteAttest, accepted: tuple[int, ...], seen: int | None) -> Claim:
    """Whether the TPM runs firmware that is accepted, or the one that it ran when it was last seen."""
    name, component = "tpm-firmware", "tpm"
    found = f"{quote.firmware_version:#018x}"
    wanted = accepted or (() if seen is None else (seen,))
    if wanted and quote.firmware_version not in wanted:
        reason = "the TPM runs firmware that is no accepted one"
        if not accepted:
            reason = "the TPM runs other firmware than when it was last seen"
        expected = " or ".join(f"{each:#018x}" for each in wanted)
        return refused(name, reason, component=component, expected=expected, found=found)
    return affirmed(name, "the TPM runs the firmware that is expected of it", component=component, found=found)


def appraise_root(evidence: Evidence, required: RootOfTrust | None) -> Claim:
    """Whether what began the launch is what the policy asks for."""
    name, component = "root-of-trust", "launch"
    found = evidence.root_of_trust
    if required is not None and found is not required:
        reason = f"the policy asks for a launch by {required.value}, and this one was by {found.value}"
        return refused(name, reason, component=component, expected=required.value, found=found.value)
    return affirmed(name, f"the policy accepts a launch by {found.value}", component=component, found=found.value)


def _moment(clock: ClockInfo) -> tuple[int, int, int]:
    return clock.reset_count, clock.restart_count, clock.clock_ms


def _describe(clock: ClockInfo) -> str:
    return f"reset {clock.reset_count} restart {clock.restart_count} clock {clock.clock_ms} ms"


def _list(pcrs: Iterable[int]) -> str:
    return "PCR " + (", ".join(map(str, sorted(pcrs))) or "none")
