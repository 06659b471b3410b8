"""The order of a start and of a stop, and that no failure leads past the gate; on real modelled machines."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.supervisor.machines import build, copy_office, flip_the_staged_plan, measure
from vafw.errors import ExitCode, GateClosed, GateUnavailable, PlatformUnable, VafwError
from vafw.hw.tpm import StartupType
from vafw.machine.lifecycle import VmPhase
from vafw.machine.report import PlatformReport, VmReport
from vafw.supervisor import supervisor as module
from vafw.supervisor.snapshot import RunPhase
from vafw.supervisor.supervisor import BOOT_WATCH_S, StartFailed
from vafw.trace import EventKind

CHAIN = ["firewall", "dns", "user-os"]
CALLS_OF_A_START = 7
"""launch, evidence, staged_plan_digest, three starts, check_isolation."""

BROKEN = """
from vafw.traffic.appliance import PacketAppliance

def create(config) -> PacketAppliance:
    raise ValueError("the licence has run out")
"""
UNHEALTHY = """
from vafw.traffic.appliance import Outcome, Verdict

class Sick:
    def handle(self, port, frame, now_s):
        return Verdict(Outcome.DROPPED, "none")

    def probe(self):
        return False, "the blocklist cannot be read"

    def report(self):
        return {}

def create(config):
    return Sick()
"""


def with_appliance(tmp_path: Path, program: str) -> Path:
    """The example with an appliance of the test's own in place of the dns filter."""
    topology = copy_office(tmp_path / "office-laptop")
    folder = topology.parent / "appliances" / "own"
    folder.mkdir(parents=True)
    (folder / "appliance.yaml").write_text(
        "vafw: 1\nkind: appliance\nname: own\nsummary: A test's own\nrole: appliance\nprogram: guest.py\n"
        "ports: [outside, inside]\nassign: []\nenforces: []\nminimum-memory: 64 MiB\n"
    )
    (folder / "guest.py").write_text(program)
    text = topology.read_text().replace("use: dns-filter", "use: own")
    topology.write_text(text.replace("    config: {block: [lists/ads.txt]}\n", ""))
    measure(topology)
    return topology


async def test_vms_start_from_the_wire_inwards_each_healthy_before_the_next(topology: Path) -> None:
    machine, platform = build(topology)
    await machine.supervisor.start()
    order = [(event.kind, event.subject) for event in machine.trace.of(EventKind.VM_STARTED, EventKind.VM_HEALTHY)]
    assert order == [(kind, vm) for vm in CHAIN for kind in (EventKind.VM_STARTED, EventKind.VM_HEALTHY)]
    assert platform.calls == [
        *("launch", "evidence", "staged_plan_digest", "boot_counts"),
        *("staged_plan_digest", "boot_counts", "start firewall"),
        *("staged_plan_digest", "boot_counts", "start dns"),
        *("staged_plan_digest", "boot_counts", "start user-os", "check_isolation"),
    ]
    assert machine.supervisor.phase is RunPhase.UP
    await machine.supervisor.stop()


async def test_vms_stop_from_the_user_os_outwards(topology: Path) -> None:
    machine, _ = build(topology)
    await machine.supervisor.start()
    await machine.supervisor.stop()
    assert machine.subjects(EventKind.VM_STOPPED) == CHAIN[::-1]
    assert machine.kinds()[-1] is EventKind.PLATFORM_POWERED_OFF
    assert machine.supervisor.phase is RunPhase.STOPPED


async def test_stopping_twice_stops_once(topology: Path) -> None:
    machine, platform = build(topology)
    await machine.supervisor.start()
    await machine.supervisor.stop()
    await machine.supervisor.stop()
    assert platform.calls.count("power_off") == 1


@pytest.mark.parametrize(
    ("program", "reason"),
    [(BROKEN, "the licence has run out"), (UNHEALTHY, "the blocklist cannot be read")],
    ids=["raises in create", "says that it is unhealthy"],
)
async def test_a_vm_that_does_not_become_healthy_stops_everything_refused(
    tmp_path: Path, program: str, reason: str
) -> None:
    machine, _ = build(with_appliance(tmp_path, program))
    with pytest.raises(StartFailed) as refused:
        await machine.supervisor.start()
    assert refused.value.message.startswith("dns must become healthy before the next VM starts: ")
    assert reason in refused.value.message
    assert machine.subjects(EventKind.VM_STARTED) == ["firewall", "dns"]
    assert machine.subjects(EventKind.VM_FAILED)[-1] == "dns"
    assert {vm: phase.value for vm, phase in machine.supervisor.snapshot().vms.items()} == {
        "firewall": "stopped", "dns": "stopped", "user-os": "defined",
    }  # fmt: skip
    assert machine.kinds()[-1] is EventKind.PLATFORM_POWERED_OFF


async def test_evidence_that_does_not_come_in_time_is_no_attestation_refused(
    topology: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVIDENCE_TIMEOUT_S", 0.0)
    machine, platform = build(topology)

    async def never(_nonce: bytes) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(platform, "evidence", never)
    with pytest.raises(GateUnavailable) as refused:
        await machine.supervisor.start()
    assert refused.value.exit_code is ExitCode.GATE_UNAVAILABLE
    assert refused.value.message == "no attestation could be had: the platform did not answer in time"
    assert machine.subjects(EventKind.VM_STARTED) == []
    assert machine.supervisor.phase is RunPhase.REFUSED


async def test_a_plan_altered_after_the_start_quarantines_the_user(topology: Path) -> None:
    machine, _ = build(topology)
    await machine.supervisor.start()
    flip_the_staged_plan(machine.provider)
    await machine.supervisor.attest()
    snapshot = machine.supervisor.snapshot()
    assert snapshot.phase is RunPhase.QUARANTINED
    assert dict(snapshot.vms) == {
        "firewall": VmPhase.HEALTHY, "dns": VmPhase.HEALTHY, "user-os": VmPhase.STOPPED,
    }  # fmt: skip
    assert [event.detail["component"] for event in machine.trace.of(EventKind.GATE_CLOSED)] == ["topology"]
    with pytest.raises(GateClosed, match="the topology was changed after it was measured"):
        machine.supervisor.require_kept()
    await machine.supervisor.stop()


@pytest.mark.parametrize(
    ("action", "phase", "running"),
    [("quarantine", RunPhase.QUARANTINED, 2), ("stop", RunPhase.FAILED, 0), ("alert", RunPhase.UP, 3)],
)
async def test_the_policy_says_what_a_failed_re_attestation_does(
    tmp_path: Path, action: str, phase: RunPhase, running: int
) -> None:
    topology = copy_office(tmp_path / "office-laptop")
    policy = topology.parent / "policy.yaml"
    policy.write_text(policy.read_text().replace("on-failure: quarantine", f"on-failure: {action}"))
    machine, _ = build(topology)
    await machine.supervisor.start()
    flip_the_staged_plan(machine.provider)
    await machine.supervisor.attest()
    healthy = [vm for vm, state in machine.supervisor.snapshot().vms.items() if state is VmPhase.HEALTHY]
    assert (machine.supervisor.phase, len(healthy)) == (phase, running)
    assert len(machine.trace.of(EventKind.GATE_CLOSED)) == 1
    await machine.supervisor.stop()


async def test_a_machine_that_slept_quarantines_the_user_until_it_is_launched_anew(topology: Path) -> None:
    machine, _ = build(topology)
    await machine.supervisor.start()
    machine.provider.sleep()
    await machine.supervisor.attest()
    assert machine.supervisor.phase is RunPhase.QUARANTINED
    with pytest.raises(GateClosed, match="no measured launch took place"):
        machine.supervisor.require_kept()
    await machine.supervisor.stop()


async def test_it_attests_on_the_policys_schedule(topology: Path) -> None:
    machine, _ = build(topology)
    await machine.supervisor.start()
    keeping = asyncio.create_task(machine.supervisor.keep_attested())
    for _ in range(3):
        await asyncio.sleep(0)
        machine.clock.advance(300)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    keeping.cancel()
    assert len(machine.trace.of(EventKind.QUOTED)) == 4
    await machine.supervisor.stop()


async def test_a_platform_that_lost_its_proof_is_attested_at_once(
    topology: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, platform = build(topology, error=PlatformUnable("the TPM is lost"))
    lost = asyncio.Event()
    monkeypatch.setattr(platform.inner, "evidence_lost", lost.wait)
    await machine.supervisor.start()
    watching = asyncio.create_task(machine.supervisor.watch_evidence())
    await asyncio.sleep(0)
    platform.turn = len(platform.calls)
    lost.set()
    await watching
    assert machine.supervisor.snapshot().reason == "no attestation could be had: the TPM is lost"
    assert machine.supervisor.phase is RunPhase.QUARANTINED
    await machine.supervisor.stop()


async def test_a_vm_that_ended_and_is_started_again_by_its_platform_is_shown_as_that(
    topology: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, platform = build(topology)
    await machine.supervisor.start()
    shown = machine.supervisor.snapshot().vms
    monkeypatch.setattr(platform, "report", lambda: PlatformReport((VmReport("dns", VmPhase.STARTING),)))
    assert machine.supervisor.snapshot().vms == {**shown, "dns": VmPhase.STARTING}
    await machine.supervisor.stop()


async def test_evidence_that_fails_while_up_is_acted_on_as_a_failed_attestation(topology: Path) -> None:
    machine, platform = build(topology, error=PlatformUnable("the TPM does not answer"))
    await machine.supervisor.start()
    platform.turn = len(platform.calls)
    with pytest.raises(GateUnavailable) as refused:
        await machine.supervisor.attest()
    assert refused.value.message == "no attestation could be had: the TPM does not answer"
    assert machine.supervisor.phase is RunPhase.QUARANTINED
    await machine.supervisor.stop()


@pytest.mark.parametrize("error", [RuntimeError("injected"), PlatformUnable("injected"), TimeoutError()], ids=repr)
@pytest.mark.parametrize("turn", range(CALLS_OF_A_START))
async def test_whatever_raises_during_a_start_nothing_passes_the_gate_and_all_is_stopped(
    topology: Path, turn: int, error: Exception
) -> None:
    machine, platform = build(topology, turn=turn, error=error)
    with pytest.raises((type(error), VafwError)):
        await machine.supervisor.start()
    kinds = machine.kinds()
    before_the_gate = kinds[: kinds.index(EventKind.GATE_OPENED)] if EventKind.GATE_OPENED in kinds else kinds
    assert EventKind.VM_STARTED not in before_the_gate
    assert set(machine.subjects(EventKind.VM_STARTED)) <= set(machine.subjects(EventKind.VM_STOPPED))
    assert set(machine.supervisor.snapshot().vms.values()) <= {VmPhase.DEFINED, VmPhase.STOPPED}
    assert platform.calls[-1] == "power_off"
    assert machine.supervisor.phase in (RunPhase.REFUSED, RunPhase.FAILED)


@pytest.mark.parametrize("later", range(5))
async def test_whatever_raises_while_stopping_the_rest_is_stopped_all_the_same(topology: Path, later: int) -> None:
    machine, platform = build(topology)
    await machine.supervisor.start()
    platform.turn = len(platform.calls) + later
    with pytest.raises(RuntimeError, match="injected"):
        await machine.supervisor.stop()
    assert platform.calls[-5:] == ["report", "stop user-os", "stop dns", "stop firewall", "power_off"]


async def test_a_machine_that_was_suspended_is_attested_again_at_once_and_quarantined_refused(topology: Path) -> None:
    machine, _ = build(topology)
    await machine.supervisor.start()
    watching = asyncio.create_task(machine.supervisor.watch_boot())
    await asyncio.sleep(0)
    machine.clock.advance(BOOT_WATCH_S)
    await asyncio.sleep(0.05)
    assert machine.supervisor.phase is RunPhase.UP
    tpm = machine.provider._measured._tpm
    tpm.shutdown(StartupType.STATE)
    tpm.power_cycle()
    tpm.startup(StartupType.STATE)
    machine.clock.advance(BOOT_WATCH_S)
    await watching
    snapshot = machine.supervisor.snapshot()
    assert snapshot.phase is RunPhase.QUARANTINED
    assert snapshot.reason.startswith("no measured launch took place: PCR 17 is all ones")
    await machine.supervisor.stop()
