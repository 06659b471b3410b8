"""What `vafw measure --predict` does: PCR 17 and 18 of the next launch, before anything is launched or replaced.

On the QEMU platform the registers follow from the digests alone. On the model platform the launch is rehearsed on a
modelled PC with these components and the launch control policy that goes with them, and its registers are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from vafw.attest.logs.read import read_log
from vafw.attest.reference import AcceptedValue, ReferenceValues
from vafw.cli.output import Output
from vafw.errors import ExitCode, InvalidDocument
from vafw.tcg.algorithms import SHA256, extended, hash_sequence_value
from vafw.wire import FormatError


def predicted(
    topology: Path, measured: tuple[bytes, bytes, Mapping[str, bytes]], platform: str, log: Path | None, output: Output
) -> int:
    """Print the prediction; with a log, hold it against that and say so in the exit code (22: they differ)."""
    launcher, vmm, _ = measured
    registers = software_launch(launcher, vmm) if platform == "qemu" else asyncio.run(_rehearsed(topology, measured))
    differing = [] if log is None else _differing(registers, log)
    if not output.json:
        for pcr, value in registers.items():
            click.echo(f"PCR {pcr}  {value.hex()}")
        for line in differing:
            click.echo(line)
    code = ExitCode.REFUSED if differing else ExitCode.DONE
    told = {str(pcr): value.hex() for pcr, value in registers.items()}
    return output.result({"predicted": dict(told), "differences": list(differing)}, code)


def software_launch(launcher: bytes, vmm: bytes) -> dict[int, bytes]:
    """PCR 17 and 18 after a launch in software, from the digests of launcher and VMM."""
    return {17: hash_sequence_value(SHA256, launcher + bytes(4)), 18: extended(SHA256, bytes(32), vmm)}


async def _rehearsed(topology: Path, measured: tuple[bytes, bytes, Mapping[str, bytes]]) -> dict[int, bytes]:
    from vafw.cli.model_platform import assembly, load_plan  # deferred: the model platform is a large import
    from vafw.clock import SystemClock
    from vafw.provider.model.traffic import Traffic
    from vafw.trace import Trace

    sinit, vmm, images = measured
    accepted = {name: (AcceptedValue(digest),) for name, digest in images.items()}
    reference = ReferenceValues("rehearsal", (AcceptedValue(sinit),), (AcceptedValue(vmm),), accepted)
    plan, clock = replace(load_plan(topology), reference=reference), SystemClock()
    platform, appraiser = assembly(plan, Traffic())(clock, Trace(clock.monotonic))
    await platform.launch()
    pcrs = (await platform.evidence(await appraiser.challenge())).pcrs
    await platform.power_off()
    return {17: pcrs[17], 18: pcrs[18]}


def _differing(registers: Mapping[int, bytes], log: Path) -> list[str]:
    try:
        replayed = read_log(log.read_bytes()).replayed().get(SHA256, {})
    except FormatError as error:
        raise InvalidDocument(f"{log}: {error}") from error
    return [
        f"PCR {pcr} of the log is {replayed[pcr].hex() if pcr in replayed else 'never extended'}, not as predicted"
        for pcr, value in registers.items()
        if replayed.get(pcr) != value
    ]
