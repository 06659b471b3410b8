"""Quotes, good and damaged, and the two that judge them: vafw's appraisal and tpm2_checkquote.

A case is a key, a quote, a signature, the values and the nonce that a verifier has. Bits are flipped in any part; or
the quote is made anew, with other content, and signed again by a key that a machine could have made in software, which
is then taken for the attestation key: so that both judges get past the signature.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vafw.attest.evidence import Evidence, RootOfTrust
from vafw.attest.key import AttestationKey
from vafw.attest.quote import appraise_nonce, appraise_signature, appraise_values, read_quote
from vafw.attest.result import Tier
from vafw.hw.tpm import Tpm
from vafw.tcg import LAUNCH_PCRS, LAUNCH_SELECTION, SHA1, SHA256, PcrSelection, QuoteAttest
from vafw.tcg.signature import encode_signature

SELECTION: Final = "sha256:17,18,19+sha1:17,18,19"
SOFTWARE: Final = ec.derive_private_key(77, ec.SECP256R1())


@dataclass(frozen=True)
class Case:
    """What a verifier has in its hands."""

    key: ec.EllipticCurvePublicKey
    quote: bytes
    signature: bytes
    values: bytes
    """SHA-256 values of PCR 17, 18 and 19, then SHA-1."""
    nonce: bytes


def good(seed: int) -> Case:
    """A quote of a TPM with random registers."""
    draw = random.Random(seed)
    tpm = Tpm((SHA256, SHA1), draw.randbytes, reset_count=draw.randrange(1 << 20), clock_ms=draw.randrange(1 << 40))
    tpm.startup()
    tpm.hash_start()
    tpm.hash_data(draw.randbytes(36))
    tpm.hash_end()
    for pcr in draw.choices((18, 19), k=draw.randrange(4)):
        tpm.extend(pcr, {SHA256: draw.randbytes(32), SHA1: draw.randbytes(20)}, 2)
    nonce = draw.randbytes(draw.choice((8, 20, 32, 48)))
    quote, signature = tpm.quote(nonce, LAUNCH_SELECTION)
    values = b"".join(tpm.read(pcr, bank) for bank in (SHA256, SHA1) for pcr in LAUNCH_PCRS)
    return Case(tpm.ak_public, quote, signature, values, nonce)


def flipped(data: bytes, draw: random.Random) -> bytes:
    bit = draw.randrange(8 * len(data))
    return data[: bit // 8] + bytes((data[bit // 8] ^ 1 << bit % 8,)) + data[bit // 8 + 1 :]


def resigned(case: Case, quote: bytes) -> Case:
    der = SOFTWARE.sign(quote, ec.ECDSA(hashes.SHA256()))
    return replace(case, key=SOFTWARE.public_key(), quote=quote, signature=encode_signature(der))


def damaged(case: Case, seed: int) -> Case:
    """One thing wrong with it, or, rarely, nothing that matters."""
    draw = random.Random(~seed)
    told = QuoteAttest.decode(case.quote)
    match draw.randrange(8):
        case 0 | 1:
            return replace(case, quote=flipped(case.quote, draw))
        case 2:
            return replace(case, signature=flipped(case.signature, draw))
        case 3:
            return replace(case, values=flipped(case.values, draw))
        case 4:
            return replace(case, nonce=flipped(case.nonce, draw))
        case 5:
            return resigned(case, replace(told, pcr_digest=flipped(told.pcr_digest, draw)).encode())
        case 6:
            return resigned(case, replace(told, nonce=draw.randbytes(len(told.nonce))).encode())
        case _:
            clock = replace(told.clock_info, reset_count=draw.randrange(9))
            return resigned(case, replace(told, clock_info=clock).encode())


def ill_formed(case: Case, seed: int) -> Case:
    """Well signed, of the right values and nonce, and no quote of these registers."""
    draw = random.Random(~seed)
    told = QuoteAttest.decode(case.quote)
    if draw.randrange(2):
        return resigned(case, flipped(case.quote[:6], draw) + case.quote[6:])
    return resigned(case, replace(told, selection=PcrSelection.of({SHA256: (17, 18), SHA1: (17, 18)})).encode())


def ours(case: Case) -> bool:
    """Whether vafw believes that this quote, for this nonce, is of these values and this key."""
    sizes = {SHA256: 32, SHA1: 20}
    banks: dict[int, dict[int, bytes]] = {SHA256: {}, SHA1: {}}
    at = 0
    for bank, size in sizes.items():
        for pcr in LAUNCH_PCRS:
            banks[bank][pcr], at = case.values[at : at + size], at + size
    evidence = Evidence(case.quote, case.signature, banks.pop(SHA256), b"", RootOfTrust.MODEL, further_banks=banks)
    claim, quote = read_quote(evidence)
    if quote is None:
        return claim.tier is Tier.AFFIRMING
    ak = AttestationKey.of(case.key)
    claims = (appraise_signature(evidence, ak), appraise_nonce(quote, case.nonce), appraise_values(quote, evidence))
    return all(each.tier is Tier.AFFIRMING for each in claims)


def theirs(case: Case, folder: Path) -> bool:
    """Whether tpm2_checkquote does."""
    pem = case.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    files = {"ak.pem": pem, "quote.msg": case.quote, "quote.sig": case.signature, "quote.pcrs": case.values}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command: list[str | Path] = [
        "tpm2_checkquote",
        "-u",
        folder / "ak.pem",
        "-m",
        folder / "quote.msg",
        "-s",
        folder / "quote.sig",
    ]
    command += ["-f", folder / "quote.pcrs", "-l", SELECTION, "-g", "sha256", "-q", case.nonce.hex()]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
