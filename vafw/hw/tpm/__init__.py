"""The modelled TPM 2.0: PCRs behind localities, the hash sequence of a dynamic launch, quotes, sealing, NV indices."""

from vafw.hw.tpm.nv import LCP_OWNER_INDEX
from vafw.hw.tpm.pcr import PcrBank, extend_localities, reset_localities
from vafw.hw.tpm.policy import EMPTY_POLICY, PolicySession, with_localities, with_pcrs
from vafw.hw.tpm.rc import ResponseCode, TpmError
from vafw.hw.tpm.sealing import SealedData
from vafw.hw.tpm.tpm import StartupType, Tpm

__all__ = [
    "Tpm",
    "StartupType",
    "PolicySession",
    "with_pcrs",
    "with_localities",
    "EMPTY_POLICY",
    "SealedData",
    "LCP_OWNER_INDEX",
    "PcrBank",
    "extend_localities",
    "reset_localities",
    "ResponseCode",
    "TpmError",
]
