"""What `scripts/fuzz` runs under atheris, one target a process; `test_fuzz` runs every target on a few inputs.

A target takes bytes and returns; anything that it raises is a fault.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from tests.attest.naive import Bench
from vafw.attest.evidence_json import evidence_from_json, read_object
from vafw.attest.logs.device_path import read_device_path
from vafw.attest.logs.ima import read_ima
from vafw.attest.logs.read import read_log
from vafw.attest.logs.variable import Variable
from vafw.attest.result import Tier
from vafw.attest.token import ResultChecker, ResultRefused
from vafw.clock import ManualClock
from vafw.tcg import QuoteAttest
from vafw.tcg.public import PublicArea
from vafw.tcg.signature import Signature
from vafw.wire import FormatError

_CHECKER: Final = ResultChecker(ec.derive_private_key(3, ec.SECP256R1()).public_key(), "v", "a", ManualClock())


def quote(data: bytes) -> None:
    """A quote has one sequence of bytes."""
    with suppress(FormatError):
        assert QuoteAttest.decode(data).encode() == data


def signature(data: bytes) -> None:
    with suppress(FormatError):
        Signature.decode(data)


def public(data: bytes) -> None:
    with suppress(FormatError):
        assert PublicArea.decode(data).encoded == data


def log(data: bytes) -> None:
    """Every log that is read can be shown."""
    with suppress(FormatError):
        json.dumps(read_log(data).to_json())


def device_path(data: bytes) -> None:
    with suppress(FormatError):
        read_device_path(data)


def variable(data: bytes) -> None:
    with suppress(FormatError):
        found = Variable.decode(data)
        json.dumps([found.summary(), found.fields()])


def ima(data: bytes) -> None:
    with suppress(FormatError):
        json.dumps(read_ima(data).to_json())


def evidence(data: bytes) -> None:
    with suppress(FormatError):
        evidence_from_json(read_object(data))


def result(data: bytes) -> None:
    """No bytes are a result that nobody signed."""
    believed = 0
    with suppress(ResultRefused):
        believed += bool(_CHECKER.jwt(data.decode("latin-1")))
    with suppress(ResultRefused):
        believed += bool(_CHECKER.cwt(data))
    assert not believed, "a result that nobody signed was believed"


def appraisal(data: bytes) -> None:
    """Quote, signature or log replaced or edited: nothing is affirmed that the second verifier refuses."""
    bench = Bench(1)
    if len(data) < 4:
        return
    name = ("quote", "signature", "event_log")[data[0] % 3]
    original: bytes = getattr(bench.evidence, name)
    at = int.from_bytes(data[1:3], "big") % (len(original) + 1)
    changed = original[:at] + data[4:] + original[at + data[3] :]
    altered = replace(bench.evidence, **{name: changed})  # type: ignore[arg-type]
    told = bench.first(altered)
    assert told.tier is not Tier.AFFIRMING or not bench.second(altered)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "quote": quote,
    "signature": signature,
    "public": public,
    "log": log,
    "device-path": device_path,
    "variable": variable,
    "ima": ima,
    "evidence": evidence,
    "result": result,
    "appraisal": appraisal,
}


def main() -> None:
    """Fuzz one target."""
    import atheris  # deferred: only the fuzzer's own environment has it

    target = TARGETS[sys.argv.pop(1)]
    atheris.instrument_all()
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
