"""`vafw measure components`: what the files of a machine that launches with TXT measure to, and its next launch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from vafw.cli.options import json_option
from vafw.cli.output import Output
from vafw.errors import ExitCode, InvalidDocument, UsageError, VafwError

if TYPE_CHECKING:
    from vafw.trace import Value
    from vafw.txt.components import Components, Module
    from vafw.txt.prediction import Prediction

Found = TypeVar("Found")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog="Example: vafw measure components --mle /boot/tboot.gz --cmdline logging=serial --sinit SINIT.BIN. "
    "Exit codes: 0 done, 22 the log is of other components, 65 a file cannot be taken."
)
@click.option("--mle", type=_FILE, required=True, help="The launched environment: an ELF file, packed or not.")
@click.option("--cmdline", default="", help="Its command line, without the file's name.")
@click.option("--sinit", type=_FILE, required=True, help="The SINIT module.")
@click.option("--lcp", type=_FILE, help="The owner's launch control policy, as it lies in the TPM.")
@click.option("--lcp-data", type=_FILE, help="The policy data file that the policy names.")
@click.option("--module", "modules", multiple=True, metavar="FILE=CMDLINE", help="What tboot starts (repeatable).")
@click.option("--log", type=_FILE, help="Event log of an earlier launch: predict PCR 17 and 18, name what diverges.")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write reference values there.")
@json_option
def command(
    *,
    mle: Path,
    cmdline: str,
    sinit: Path,
    lcp: Path | None,
    lcp_data: Path | None,
    modules: tuple[str, ...],
    log: Path | None,
    write: Path | None,
    as_json: bool,
) -> int:
    """Measure the components of a real machine that launches with TXT (SHA-256).

    The order of a launch's events is the SINIT family's, and some are the platform's own: so PCR 17 and 18 are
    predicted with the event log of an earlier launch of the same machine (--log).
    """
    from vafw.txt.components import Components, hash_of_mle, read_policy, read_sinit  # deferred: others need none

    data = b"" if lcp_data is None else lcp_data.read_bytes()
    if lcp is None and lcp_data is not None:
        raise UsageError("--lcp-data must come with --lcp, the policy that names them")
    components = Components(
        _taken(sinit, lambda: read_sinit(sinit.read_bytes())),
        _taken(mle, lambda: hash_of_mle(mle.read_bytes(), cmdline)),
        None if lcp is None else _taken(lcp, lambda: read_policy(lcp.read_bytes(), data)),
        data,
        tuple(_module(each) for each in modules),
    )
    prediction = None if log is None else _predicted(log, components)
    if write is not None:
        _write(write, components)
    code = ExitCode.REFUSED if prediction is not None and _problems(prediction) else ExitCode.DONE
    if not as_json:
        _print(components, prediction)
    return Output(as_json, "Measure").result(_told(components, prediction), code)


def _taken(path: Path, read: Callable[[], Found]) -> Found:
    """What was read out of a file; InvalidDocument names the file where it cannot be taken."""
    try:
        return read()
    except VafwError as error:
        raise InvalidDocument(f"{path}: {error}") from error


def _module(given: str) -> Module:
    from vafw.txt.components import read_module

    name, _, line = given.partition("=")
    path = Path(name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"--module must name a file, = and its command line, not {given!r}: {error.strerror}"
        ) from error
    return _taken(path, lambda: read_module(path.name, data, line))


def _predicted(log: Path, components: Components) -> Prediction:
    from vafw.attest.logs.read import read_log
    from vafw.txt.prediction import predict

    return _taken(log, lambda: predict(components, [each.event for each in read_log(log.read_bytes()).entries]))


def _write(path: Path, components: Components) -> None:
    from vafw.cli.measure_topology import reference_values

    path.write_text(reference_values(path.stem, components.sinit.digest, components.mle, {}, "txt"), encoding="utf-8")
    click.echo(f"{path}: written", err=True)


def _problems(prediction: Prediction) -> list[str]:
    """What the log has otherwise: the first event that diverges, and what it says nothing of."""
    from vafw.tcg.algorithms import SHA256

    found = []
    if (first := prediction.first_divergence) is not None:
        logged = first.event.digests[SHA256].hex()
        found.append(
            f"event #{first.position} {first.event} diverges first: {first.component} gives {first.value.hex()}, "
            f"the log has {logged}"
        )
    return found + [f"{name} is measured by no event of the log" for name in prediction.unmeasured]


def _measured(components: Components) -> dict[str, bytes]:
    found = {"sinit": components.sinit.digest, "vmm": components.mle}
    if components.policy is not None:
        found["lcp"] = components.policy.policy_hash
    return found | {f"module {each.name}": each.digest for each in components.modules}


def _print(components: Components, prediction: Prediction | None) -> None:
    for name, value in _measured(components).items():
        click.echo(f"{name}  {value.hex()}")
    if prediction is None:
        return
    for pcr, value in sorted(prediction.pcrs.items()):
        click.echo(f"PCR {pcr}  {value.hex()}")
    for problem in _problems(prediction):
        click.echo(problem)


def _told(components: Components, prediction: Prediction | None) -> dict[str, Value]:
    told: dict[str, Value] = {"components": {name: value.hex() for name, value in _measured(components).items()}}
    if prediction is not None:
        told["predicted"] = {str(pcr): value.hex() for pcr, value in sorted(prediction.pcrs.items())}
        told["differences"] = list(_problems(prediction))
    return told
