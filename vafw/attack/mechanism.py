"""The mechanisms that stand between an attack and its aim, each of which the range can leave out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Mechanism(StrEnum):
    """What can be switched off; the value is its name on the command line."""

    VT_D = "vt-d"
    INTERRUPT_REMAPPING = "interrupt-remapping"
    SOURCE_ID = "source-id"
    INVALIDATION = "invalidation"
    QUARANTINE = "quarantine"
    FUNCTION_RESET = "function-reset"
    ACS = "acs"
    ATS_BLOCK = "ats-block"
    RESERVED_MEMORY = "reserved-memory"
    DMA_PROTECTION = "dma-protection"
    EPT = "ept"
    BIOS_ACM = "bios-acm"
    SCRUB = "scrub"
    TXT = "txt"
    LCP = "lcp"
    NV_LOCK = "nv-lock"
    TPM_LOCALITY = "tpm-locality"
    SEAL = "seal"
    NONCE = "nonce"
    BOOT_COUNTS = "boot-counts"
    GATE = "gate"


MEANING: Final[Mapping[Mechanism, str]] = {
    Mechanism.VT_D: "DMA goes through the remapping unit's tables",
    Mechanism.INTERRUPT_REMAPPING: "messages of devices go through the interrupt remapping table",
    Mechanism.SOURCE_ID: "an interrupt entry serves the function it was made for",
    Mechanism.INVALIDATION: "memory is taken back only when the unit has forgotten it",
    Mechanism.QUARANTINE: "a function that is released reaches nothing",
    Mechanism.FUNCTION_RESET: "a function is reset before somebody else has it",
    Mechanism.ACS: "ports check requester ids and send requests up, not across",
    Mechanism.ATS_BLOCK: "no function may send requests that it says are translated (TT)",
    Mechanism.RESERVED_MEMORY: "a device with memory of the firmware's is assigned to nobody (RMRR)",
    Mechanism.DMA_PROTECTION: "no device reaches what was measured before the VMM's tables are on (PMR)",
    Mechanism.EPT: "a guest's addresses are its own",
    Mechanism.BIOS_ACM: "the BIOS ACM resets the chipset before anything is measured",
    Mechanism.SCRUB: "a VMM with secrets says so to the chipset, and memory is cleared after a reset",
    Mechanism.TXT: "the VMM starts by a measured launch",
    Mechanism.LCP: "the owner's launch control policy says which VMM and SINIT may be launched",
    Mechanism.NV_LOCK: "that policy is locked in the TPM",
    Mechanism.TPM_LOCALITY: "no program reaches the localities of SINIT and of the processor",
    Mechanism.SEAL: "secrets are sealed to the launch's PCRs and the VMM's locality",
    Mechanism.NONCE: "a quote must answer a fresh nonce",
    Mechanism.BOOT_COUNTS: "a result holds for the boot it was made of (TPM reset and restart counts)",
    Mechanism.GATE: "nothing starts without an affirming attestation result",
}
