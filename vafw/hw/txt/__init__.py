"""Trusted Execution Technology: BIOS ACM, GETSEC[SENTER], SINIT, launch control policy, and what they leave behind."""

from vafw.hw.txt.chipset import Chipset, ProtectedRange
from vafw.hw.txt.outcome import LaunchOutcome, LaunchRefused, LaunchStep, TxtError
from vafw.hw.txt.platform import Activity, SmxProcessor, TxtPlatform
from vafw.hw.txt.senter import senter
from vafw.hw.txt.sinit_build import SigningKey, build_sinit
from vafw.txt.acm import Acm, AcmFormatError, coverage_digest
from vafw.txt.lcp import Policy, PolicyData, PolicyType
from vafw.txt.lcp_elements import PolicyFormatError
from vafw.txt.mle import MleFormatError, MleHeader, mle_hash

__all__ = [
    "TxtPlatform",
    "SmxProcessor",
    "Activity",
    "Chipset",
    "ProtectedRange",
    "senter",
    "LaunchOutcome",
    "LaunchStep",
    "TxtError",
    "Acm",
    "SigningKey",
    "build_sinit",
    "coverage_digest",
    "MleHeader",
    "mle_hash",
    "Policy",
    "PolicyData",
    "PolicyType",
    "AcmFormatError",
    "MleFormatError",
    "PolicyFormatError",
    "LaunchRefused",
]
