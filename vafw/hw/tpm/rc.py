"""Response codes of the modelled TPM (TPM 2.0 Library, Part 2, "TPM_RC"), and the error that carries one."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from vafw.errors import VafwError

_HANDLE_1: Final = 0x100
"""Added to a format-one code: the first handle is at fault ("TPM_RC_H", "TPM_RC_1")."""
_PARAMETER_1: Final = 0x140
"""The first parameter is at fault ("TPM_RC_P", "TPM_RC_1")."""
_SESSION_1: Final = 0x900
"""The first session is at fault ("TPM_RC_S", "TPM_RC_1")."""


class ResponseCode(IntEnum):
    """What a command was refused with."""

    INITIALIZE = 0x100
    """Not started, or started already."""
    AUTH_UNAVAILABLE = 0x12F
    """The object's policy must be satisfied, and no session came with the command."""
    PCR_CHANGED = 0x128
    """A PCR has changed since a policy session read it."""
    LOCALITY = 0x907
    NV_RANGE = 0x146
    NV_LOCKED = 0x148
    NV_UNINITIALIZED = 0x14A
    NV_SPACE = 0x14B
    NV_DEFINED = 0x14C
    HANDLE_OF_INDEX = 0x08B | _HANDLE_1
    """No such NV index."""
    VALUE_OF_PCR = 0x084 | _HANDLE_1
    """No such PCR."""
    VALUE_OF_STARTUP = 0x084 | _PARAMETER_1
    """Startup(STATE) without a state that was saved."""
    HASH = 0x083 | _PARAMETER_1
    """A hash algorithm that the TPM has no bank for."""
    SIZE = 0x095 | _PARAMETER_1
    """Bytes of the wrong length."""
    VALUE_OF_DIGEST = 0x084 | _PARAMETER_1
    """PCRs do not hold what the caller says they do."""
    RANGE_OF_LOCALITY = 0x08D | _PARAMETER_1
    """No locality is left that a session could be used at."""
    INTEGRITY = 0x09F | _PARAMETER_1
    """An object or credential that is not this TPM's, or that was altered."""
    POLICY_FAIL = 0x09D | _SESSION_1
    """A policy session that shows something else than the object asks for."""


class TpmError(VafwError):
    """The TPM refused a command."""

    def __init__(self, rc: ResponseCode, message: str) -> None:
        super().__init__(f"{message} (TPM_RC {rc:#x})")
        self.rc = rc
