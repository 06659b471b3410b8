"""Evidence as one JSON object, for a verifier elsewhere: bytes in base64, registers by bank and index.

Reading is strict and bounded: it is the first thing that a verifier does with bytes that anybody may send.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from vafw.attest.evidence import Evidence, LaunchError, RootOfTrust
from vafw.tcg.algorithms import SHA256
from vafw.trace import Value
from vafw.wire import FormatError

STRUCTURE: Final = "evidence"
MOST_BYTES: Final = 256 * 1024
_MOST_TEXT: Final = 512


def evidence_to_json(evidence: Evidence) -> dict[str, Value]:
    """The evidence as a JSON object."""
    banks = {SHA256: evidence.pcrs, **evidence.further_banks}
    members: dict[str, Value] = {
        "quote": _text(evidence.quote),
        "signature": _text(evidence.signature),
        "pcrs": {str(bank): {str(pcr): value.hex() for pcr, value in held.items()} for bank, held in banks.items()},
        "event-log": _text(evidence.event_log),
        "root-of-trust": evidence.root_of_trust.value,
    }
    if (error := evidence.launch_error) is not None:
        told: dict[str, Value] = {"component": error.component, "reason": error.reason, "code": error.error_code}
        members["launch-error"] = told | {"expected": error.expected, "found": error.found}
    return members


def evidence_from_json(content: Any) -> Evidence:
    """What `evidence_to_json` wrote; FormatError for anything else."""
    try:
        if not isinstance(content, dict) or not set(content) <= _KEYS:
            raise ValueError("it must be an object of its keys and no others")
        banks = {
            int(bank): {int(pcr): bytes.fromhex(value) for pcr, value in held.items()}
            for bank, held in content["pcrs"].items()
        }
        told = content.get("launch-error")
        return Evidence(
            quote=_bytes(content["quote"]),
            signature=_bytes(content["signature"]),
            pcrs=banks.pop(SHA256),
            event_log=_bytes(content["event-log"]),
            root_of_trust=RootOfTrust(content["root-of-trust"]),
            launch_error=None if told is None else _launch_error(told),
            further_banks=banks,
        )
    except (KeyError, ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise FormatError(STRUCTURE, f"it cannot be read: {error!r}") from error


def read_object(data: bytes, most: int = MOST_BYTES) -> dict[str, Any]:
    """A message as a JSON object; FormatError for anything else."""
    if len(data) > most:
        raise FormatError(STRUCTURE, f"a message must have at most {most} bytes, not {len(data)}")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(STRUCTURE, f"a message must be one JSON object: {error}") from error
    if not isinstance(content, dict):
        raise FormatError(STRUCTURE, "a message must be one JSON object")
    return content


_KEYS: Final = {"quote", "signature", "pcrs", "event-log", "root-of-trust", "launch-error"}


def _launch_error(told: Any) -> LaunchError:
    words = [str(told[key])[:_MOST_TEXT] for key in ("component", "reason", "expected", "found")]
    return LaunchError(words[0], words[1], int(told["code"]), words[2], words[3])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: Any) -> bytes:
    return base64.b64decode(text, validate=True)
