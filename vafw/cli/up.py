"""`vafw up`: bring a topology up and stay in the foreground."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vafw.cli.options import json_option, topology_argument
from vafw.cli.output import Output
from vafw.document.model import parse_duration
from vafw.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from vafw.cli.qemu_platform import Far
    from vafw.plan.plan import Plan
    from vafw.provider.model.traffic import Traffic
    from vafw.supervisor.gate_record import GateRecord
    from vafw.supervisor.run import Assembly, Control
    from vafw.supervisor.snapshot import Snapshot


@click.command(epilog="Example: vafw up policies/office-laptop/topology.yaml --pcap office.pcap --until-idle")
@topology_argument
@click.option(
    "--pcap",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Replay this capture (pcap or pcapng, also .gz).",
)
@click.option("--pcap-out", type=click.Path(path_type=Path), help="Write what left, what arrived and what was dropped.")
@click.option(
    "--wire",
    "wires",
    metavar="[NIC=]tap:NAME",
    multiple=True,
    help="Put the wire on a tap interface of this host; on qemu also: user. Once for each uplink.",
)
@click.option(
    "--unplug",
    metavar="NIC[@TIME]",
    multiple=True,
    help="Pull the cable of an uplink, at first or later: nic@5s.",
)
@click.option("--user", metavar="tap:NAME", help="Put the user's side on a tap interface of this host (root).")
@click.option(
    "--script", type=click.Path(path_type=Path), help="What the user OS does by itself (kind: traffic-script)."
)
@click.option(
    "--clock", metavar="DATE", help="What the machine's clock says at first, such as 2026-11-30T09:00Z (model)."
)
@click.option("--for", "duration", metavar="TIME", help="Stop after this time, for instance '30 s'.")
@click.option("--until-idle", is_flag=True, help="Stop when the capture or script has ended and the machine is idle.")
@click.option(
    "--tamper",
    metavar="COMPONENT[:BIT]",
    help="Flip a bit in vmm, sinit, lcp, log, topology, appliance=NAME (qemu: kernel, topology, appliance=NAME); "
    "or launch, to skip the launch.",
)
@click.option(
    "--platform", type=click.Choice(["model", "qemu"]), default="model", show_default=True, help="Where to run it."
)
@click.option(
    "--control/--no-control",
    default=True,
    show_default=True,
    help="Let `vafw config` change the appliances over MQTT while it is up.",
)
@click.option(
    "--verifier", metavar="HOST:PORT", help="Be appraised by the verifier at this broker, not by this process (qemu)."
)
@click.option(
    "--verifier-key", type=click.Path(exists=True, path_type=Path), help="Its public key: `vafw verifier --key`."
)
@click.option(
    "--break-glass", metavar="REASON", help="Start though the gate is closed; the ledger and every status say so."
)
@json_option
def command(
    *,
    topology: Path,
    pcap: Path | None,
    pcap_out: Path | None,
    wires: tuple[str, ...],
    unplug: tuple[str, ...],
    user: str | None,
    script: Path | None,
    clock: str | None,
    duration: str | None,
    until_idle: bool,
    tamper: str | None,
    platform: str,
    control: bool,
    verifier: str | None,
    verifier_key: Path | None,
    break_glass: str | None,
    as_json: bool,
) -> int:
    """Bring TOPOLOGY up: measured launch, attestation, the gate, each VM from the wire inwards, traffic.

    Without --for and --until-idle it stays up until Ctrl-C or `vafw down`.
    """
    from vafw.cli.progress import show_step  # deferred, as all below: a large import
    from vafw.supervisor.run import RunEnded, RunOptions, run

    options = RunOptions(until_idle, _seconds(duration))
    if platform == "qemu":
        given = {"--pcap": pcap, "--pcap-out": pcap_out, "--user": user, "--clock": clock}
        far = _far(verifier, verifier_key)
        others = [name for name, value in given.items() if value]
        plan, machine = _on_qemu(topology, script, tamper, (_only(wires), unplug), others, far=far)
    else:
        if verifier is not None:
            raise UsageError("--verifier must be used with --platform qemu: the model's TPM is made anew with each run")
        plan, machine = _on_model(topology, _traffic((pcap, pcap_out, user, script), wires, clock, unplug), tamper)
    output = Output(as_json, "Up")
    try:
        snapshot, _ = asyncio.run(
            run(
                plan,
                machine,
                options,
                watch=None if as_json else show_step,
                ready=None if as_json else partial(_say_ready, ends=until_idle or duration is not None),
                control=_control(plan, topology) if control else None,
                said=None if as_json else partial(print, file=sys.stderr),
                record=_record(plan, break_glass),
            )
        )
    except RunEnded as ended:
        if not as_json:
            _show(output, ended.snapshot, ended.exit_code)
        raise
    _show(output, snapshot, ExitCode.DONE)
    return ExitCode.DONE


def _traffic(
    feed: tuple[Path | None, Path | None, str | None, Path | None],
    wires: tuple[str, ...],
    clock: str | None,
    unplug: tuple[str, ...],
) -> Traffic:
    """What feeds the modelled machine; `feed` is what --pcap, --pcap-out, --user and --script say."""
    from vafw.cli.model_platform import script_steps  # deferred with all below: a large import
    from vafw.provider.model.traffic import Traffic, parse_date, parse_unplugged

    pcap, pcap_out, user, script = feed
    steps = script_steps(script) if script else None
    found = Traffic.choose(capture=pcap, results=pcap_out, wires=wires, user=user, script=steps)
    return replace(found, date=parse_date(clock) if clock is not None else None, unplugged=parse_unplugged(unplug))


def _on_model(topology: Path, traffic: Traffic, tamper: str | None) -> tuple[Plan, Assembly]:
    """Plan and machine on the model platform."""
    from vafw.cli.model_platform import assembly, load_plan  # deferred with all below: a large import
    from vafw.provider.model.tamper import TamperPlan

    plan = load_plan(topology)
    return plan, assembly(plan, traffic, TamperPlan.parse(tamper, plan) if tamper else None)


def _only(wires: tuple[str, ...]) -> str | None:
    """The path's own wire, the only one that may lead elsewhere on QEMU."""
    if len(wires) > 1:
        raise UsageError("--wire must be given once at most on the QEMU platform, for the path's own wire")
    return wires[0] if wires else None


def _on_qemu(
    topology: Path,
    script: Path | None,
    tamper: str | None,
    ends: tuple[str | None, tuple[str, ...]],
    others: list[str],
    *,
    far: Far | None,
) -> tuple[Plan, Assembly]:
    """Plan and machine on the QEMU platform; UsageError for options that only the model platform has an answer to.

    `ends` is what --wire and --unplug say.
    """
    if others:
        raise UsageError(f"the QEMU platform can be fed by --script and --wire only, not by {' and '.join(others)}")
    from vafw.cli.model_platform import script_steps  # deferred with all below: a large import
    from vafw.cli.qemu_platform import assembly, load_plan
    from vafw.provider.model.traffic import parse_unplugged
    from vafw.provider.qemu.tamper import Tamper
    from vafw.provider.qemu.uplink import require_wires

    steps = script_steps(script) if script else ()
    plan, (wire, unplug) = load_plan(topology), ends
    unplugged = parse_unplugged(unplug)
    require_wires(plan, unplugged)
    return plan, assembly(plan, steps, Tamper.parse(tamper, plan) if tamper else None, wire, far, unplugged=unplugged)


def _far(verifier: str | None, key: Path | None) -> Far | None:
    """The verifier elsewhere that was named, with its key; UsageError for one without the other."""
    if verifier is None and key is None:
        return None
    from vafw.cli.qemu_platform import Far  # deferred: a large import

    if verifier is None or key is None:
        raise UsageError("--verifier and --verifier-key must be given together")
    host, _, port = verifier.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--verifier must be a host and a port, such as localhost:1883, not {verifier!r}")
    return Far(host, int(port), key.read_bytes())


def _record(plan: Plan, break_glass: str | None) -> GateRecord:
    from vafw.attest.ledger import Ledger  # deferred with all below: SQLite is for what is kept
    from vafw.clock import SystemClock
    from vafw.supervisor.gate_record import GateRecord
    from vafw.supervisor.state_folder import ledger_path

    return GateRecord(Ledger(ledger_path(), SystemClock()), plan.name, break_glass)


def _control(plan: Plan, topology: Path) -> Control:
    from vafw.supervisor.control_plane import control_of  # deferred: MQTT is for runs that are configured

    return control_of(plan, topology)


def _say_ready(snapshot: Snapshot, *, ends: bool) -> None:
    name = snapshot.plan.name
    how = "" if ends else f"; Ctrl-C or `vafw down {name}` ends it"
    print(f"{name} is up{how}", file=sys.stderr)


def _show(output: Output, snapshot: Snapshot, code: ExitCode) -> None:
    if output.json:
        output.result(snapshot.to_json(), code)
        return
    from vafw.cli.tables import print_snapshot  # deferred: rich is not needed for JSON

    print_snapshot(snapshot.to_json())


def _seconds(duration: str | None) -> float | None:
    if duration is None:
        return None
    try:
        return float(str(parse_duration(duration)))
    except ValueError as error:
        raise UsageError(f"--for {error}") from error
