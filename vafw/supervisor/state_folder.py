"""What outlives a run and a reboot: the ledger of enrolments and decisions, each topology's TPM and secrets.

``$VAFW_STATE_DIR``, else beside the run directories where ``$VAFW_RUN_DIR`` chose their place, else
``$XDG_STATE_HOME/vafw/trust`` (``~/.local/state``). Not the run directory, which a reboot may clear: a TPM whose keys
change with each boot could be enrolled anew each time, and an enrolment would mean nothing.
"""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """The folder itself; readable by its owner only, made by whoever writes there first."""
    if chosen := os.environ.get("VAFW_STATE_DIR"):
        return Path(chosen)
    if runs := os.environ.get("VAFW_RUN_DIR"):
        return Path(runs) / ".trust"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "vafw" / "trust"


def ledger_path() -> Path:
    """Where the attestation ledger lies."""
    return state_folder() / "ledger.sqlite"


def platform_state(topology: str) -> Path:
    """Where the platform of a topology keeps what must survive, its TPM among it."""
    return state_folder() / "platforms" / topology


def secrets_folder(topology: str) -> Path:
    """Where the secrets lie that appliances of a topology keep."""
    return state_folder() / "secrets" / topology
