"""The supervisor: launch, attest, gate, then every VM from the wire inwards, each healthy before the next.

One object owns the state of a run; faces send it requests and read snapshots. The order of a start:

    launch ─▶ evidence ─▶ appraisal ─▶ gate ─closed─▶ power off, nothing started
                                        │open
                                        ▼
              first appliance ─healthy─▶ next … ─healthy─▶ user OS ─▶ isolation checks ─▶ traffic

The hard part is what happens when a step fails: whatever was started is stopped in reverse order, and no exception path
leads past the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import final

from vafw.attest.attester import BootCounts
from vafw.attest.evidence import RootOfTrust
from vafw.attest.result import AttestationResult
from vafw.clock import Clock
from vafw.errors import ExitCode, GateClosed, GateUnavailable, VafwError
from vafw.machine.lifecycle import VmEvent, VmPhase, next_phase
from vafw.machine.report import IsolationCheck, PlatformReport
from vafw.plan.plan import FailureAction, Plan
from vafw.supervisor.gate import MAXIMUM_AGE, GateDecision, decide, hold, unavailable
from vafw.supervisor.gate_record import GateRecord
from vafw.supervisor.platform import Appraiser, Platform
from vafw.supervisor.snapshot import Configuration, RunPhase, Snapshot
from vafw.supervisor.steps import Step, StepState, StepTree
from vafw.trace import EventKind, Trace

BOOT_WATCH_S = 5.0
"""How often the TPM is asked which boot it is in while the machine is up."""
EVIDENCE_TIMEOUT_S = 30.0
"""How long a platform may take to give evidence; later is as good as never."""


class StartFailed(VafwError):
    """A VM did not become healthy, or an isolation check was not blocked; everything was stopped again."""


@final
class Supervisor:
    """One run of one plan on one platform."""

    def __init__(
        self,
        plan: Plan,
        platform: Platform,
        appraiser: Appraiser,
        *,
        clock: Clock,
        trace: Trace,
        watch: Callable[[Step], None] | None = None,
        record: GateRecord | None = None,
    ) -> None:
        """`record` keeps what the gate decides; without one nothing is kept, and nothing can override it."""
        self.plan = plan
        self.trace = trace
        self.configured: Callable[[], Configuration] = dict
        """Asks the control plane, where there is one, what each appliance is to have and what it reports."""
        self._platform = platform
        self._appraiser = appraiser
        self._record = record
        self._clock = clock
        self._steps = StepTree(clock, watch)
        self._phase = RunPhase.STARTING
        self._since = self._now()
        self._ended = ""
        self._vm_since: dict[str, str] = {}
        self._vms = {vm.name: VmPhase.DEFINED for vm in plan.vms}
        self._gate: GateDecision | None = None
        self._attestation: AttestationResult | None = None
        self._token, self._nonce = "", b""
        self._isolation: tuple[IsolationCheck, ...] = ()
        self._reason = ""
        self._last_report: PlatformReport | None = None

    @property
    def phase(self) -> RunPhase:
        """Where the run stands."""
        return self._phase

    def snapshot(self) -> Snapshot:
        """Everything there is to know now."""
        report = self._last_report or self._platform.report()
        return Snapshot(
            self.plan,
            self._phase,
            self._since,
            self._ended,
            self._steps,
            self._phases(report),
            dict(self._vm_since),
            self._gate,
            self._attestation,
            self._isolation,
            report,
            self.configured(),
            self._reason,
        )

    async def start(self) -> None:
        """Bring the plan up; GateClosed, GateUnavailable or StartFailed where it cannot, and nothing runs then."""
        async with self._undone_on_failure():
            await self._open_gate()
            for vm in self.plan.vms:
                await self._start_vm(vm.name)
            await self._check_isolation()
        self._phase = RunPhase.UP

    async def prove(self) -> None:
        """Launch, attest and ask the gate, start nothing; GateClosed or GateUnavailable where it stays closed."""
        async with self._undone_on_failure():
            await self._open_gate()

    async def carry(self) -> None:
        """Carry traffic until what feeds the machine has ended."""
        with self._steps.step("traffic") as step:
            try:
                await self._platform.carry()
            finally:
                wire = (self._last_report or self._platform.report()).wire or {}
                step.detail = f"{wire.get('frames', 0)} frames"

    async def attest(self) -> AttestationResult:
        """Attest the running machine once more; where that fails act as the launch policy says.

        GateUnavailable where no attestation could be had, which is acted on as a failed one.
        """
        try:
            result, nonce = await self._appraise()
        except Exception as error:  # whatever went wrong, nothing was attested
            decision = _not_had(error)
            await self._decided_again(decision)
            raise GateUnavailable(decision.reason) from error
        self._attestation = result
        await self._decided_again(self._decide(result, nonce))
        return result

    async def keep_attested(self) -> None:
        """Attest on the policy's schedule until cancelled; returns at once where it names none."""
        while (pause_s := self.plan.launch.re_attest_s) is not None:
            await self._clock.sleep(pause_s)
            if self._phase is not RunPhase.UP:
                return
            with suppress(GateUnavailable):  # acted on already
                await self.attest()

    async def watch_boot(self) -> None:
        """Attest once more as soon as the TPM counts another boot: after a suspend, a reset, another launch."""
        while self._phase is RunPhase.UP:
            await self._clock.sleep(BOOT_WATCH_S)
            if self._phase is RunPhase.UP and not self._is_attested_boot():
                with suppress(GateUnavailable):  # acted on already
                    await self.attest()

    async def watch_evidence(self) -> None:
        """Attest once more as soon as the platform has lost what it proves itself by: that fails, and is acted on."""
        await self._platform.evidence_lost()
        if self._phase is RunPhase.UP:
            with suppress(GateUnavailable):  # acted on already
                await self.attest()

    def require_kept(self) -> None:
        """GateClosed or GateUnavailable where the gate closed while the machine was up and something was stopped."""
        if self._gate is not None and self._phase in (RunPhase.QUARANTINED, RunPhase.FAILED):
            self._gate.require_open()

    async def stop(self, because: Exception | None = None) -> None:
        """Stop every VM, the user OS first, and switch the machine off; safe to call twice.

        Whatever cannot be stopped is left to the switch, which is reached in any case. `because` is what made a run
        fail that was up.
        """
        if self._last_report is not None:
            return
        self._last_report = PlatformReport()
        if self._phase in (RunPhase.STARTING, RunPhase.UP):
            self._phase = RunPhase.FAILED if because else RunPhase.STOPPED
            self._reason = str(because or "")
        self._ended = self._now()
        async with AsyncExitStack() as undo:  # unwinds from the last entry to the first, past any that raises
            undo.push_async_callback(self._power_off)
            for vm in self.plan.vms:
                undo.push_async_callback(self._stop_vm, vm.name)
            self._last_report = self._platform.report()

    def display(self) -> bytes:
        """The picture on the user's display, as PNG."""
        return self._platform.display()

    @asynccontextmanager
    async def _undone_on_failure(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            refused = self._gate is not None and not self._gate.open
            if isinstance(error, asyncio.CancelledError):
                self._phase, self._reason = RunPhase.STOPPED, "it was stopped before it was up"
            else:
                self._phase = RunPhase.REFUSED if refused else RunPhase.FAILED
                self._reason = str(error) or type(error).__name__
            try:
                await self.stop()
            except Exception as another:
                error.add_note(f"stopping failed too: {another}")
            raise

    async def _open_gate(self) -> None:
        await self._launch()
        await self._pass_gate()

    async def _launch(self) -> None:
        with self._steps.step("launch") as step:
            done = await self._platform.launch()
            step.notes.extend((each.name, each.detail) for each in done)
            step.detail = f"{len(done)} steps"

    async def _pass_gate(self) -> None:
        with self._steps.step("attest") as step:
            self._gate = await self._attest_for_gate(step)
            if self._record is not None:
                self._gate = self._record.keep(self._gate, self._attestation)
            if not self._gate.open or self._gate.override:
                step.state = StepState.FAILED
        with self._steps.step("gate") as step:
            step.detail = self._gate.reason
            kind = EventKind.GATE_OPENED if self._gate.open else EventKind.GATE_CLOSED
            self.trace.record(kind, self.plan.name, **self._gate.to_json())
            self._gate.require_open()

    async def _attest_for_gate(self, step: Step | None) -> GateDecision:
        try:
            result, nonce = await self._appraise()
        except Exception as error:  # whatever went wrong, nothing was attested
            return _not_had(error)
        self._attestation = result
        if step is not None:
            step.notes.extend((claim.name, f"{claim.tier}: {claim.reason}") for claim in result.claims)
            affirming = sum(claim.tier.value == "affirming" for claim in result.claims)
            step.detail = f"{affirming} of {len(result.claims)} claims affirming"
        return self._decide(result, nonce)

    async def _appraise(self) -> tuple[AttestationResult, bytes]:
        nonce = await self._appraiser.challenge()
        async with asyncio.timeout(EVIDENCE_TIMEOUT_S):
            evidence = await self._platform.evidence(nonce)
            self.trace.record(EventKind.QUOTED, self.plan.machine.name, nonce=nonce.hex())
            appraisal = await self._appraiser.appraise(evidence, nonce, self.plan)
        result = appraisal.result
        self._token, self._nonce = appraisal.token, nonce
        launched = evidence.root_of_trust is not RootOfTrust.NONE
        self.trace.record(EventKind.APPRAISED, self.plan.machine.name, tier=result.tier.value, launched=launched)
        return result, nonce

    def _decide(self, result: AttestationResult, nonce: bytes) -> GateDecision:
        staged = self._platform.staged_plan_digest()
        decision = decide(
            result,
            nonce=nonce,
            plan_digest=self.plan.digest,
            staged_plan_digest=staged,
            now=self._clock.wall(),
            accept_old=self.plan.launch.accept_old,
        )
        held = self._hold(staged) if decision.open else decision
        return decision if held.open else held

    def _hold(self, staged: bytes) -> GateDecision:
        """Whether the signed result is still true of the machine: asked at the moment of use."""
        try:
            bound = self._appraiser.check(self._token, self.plan)
        except GateClosed as refusal:
            return GateDecision(False, refusal.message, "result", exit_code=ExitCode.GATE_FAILED)
        return hold(
            bound,
            nonce=self._nonce,
            plan_digest=self.plan.digest,
            staged_plan_digest=staged,
            counts=self._platform.boot_counts(),
            accept_old=self.plan.launch.accept_old,
        )

    def _is_attested_boot(self) -> bool:
        """Whether the TPM is in the boot that was attested; a TPM that does not say is in another."""
        if self._attestation is None or (self._gate is not None and self._gate.override):
            return True
        attested = BootCounts(self._attestation.reset_count, self._attestation.restart_count)
        try:
            return self._platform.boot_counts() == attested
        except VafwError:
            return False

    async def _keep_gate(self) -> None:
        """Before a VM starts: a result that has grown old is replaced by a fresh one, and the gate asked again."""
        if self._gate is not None and self._gate.override:
            return
        assert self._attestation is not None
        if self._clock.wall() - self._attestation.appraised_at >= MAXIMUM_AGE:
            self._gate = await self._attest_for_gate(None)
        else:
            held = self._hold(self._platform.staged_plan_digest())
            self._gate = self._gate if held.open else held
        if self._gate is not None and not self._gate.open:
            self.trace.record(EventKind.GATE_CLOSED, self.plan.name, **self._gate.to_json())
            self._gate.require_open()

    async def _start_vm(self, name: str) -> None:
        await self._keep_gate()
        with self._steps.step(f"start {name}") as step:
            self._move(name, VmEvent.START)
            health = await self._platform.start(name)
            self._move(name, VmEvent.BOOTED)
            step.detail = health.reason
            if not health.healthy:
                self._move(name, VmEvent.FAIL)
                self.trace.record(EventKind.VM_FAILED, name, reason=health.reason)
                raise StartFailed(f"{name} must become healthy before the next VM starts: {health.reason}")
            self._move(name, VmEvent.HEALTHY)
            self.trace.record(EventKind.VM_HEALTHY, name, reason=health.reason)

    async def _stop_vm(self, name: str) -> None:
        """Stop a VM unless it never started or was stopped before."""
        if self._vms[name] not in (VmPhase.DEFINED, VmPhase.STOPPED):
            await self._platform.stop(name)
            self._move(name, VmEvent.STOP)

    async def _power_off(self) -> None:
        await self._platform.power_off()
        self.trace.record(EventKind.PLATFORM_POWERED_OFF, self.plan.machine.name)

    async def _check_isolation(self) -> None:
        with self._steps.step("isolation") as step:
            self._isolation = await self._platform.check_isolation()
            open_ways = [each for each in self._isolation if not each.blocked]
            for each in self._isolation:
                self.trace.record(EventKind.ISOLATION_CHECKED, each.actor, name=each.name, blocked=each.blocked)
            step.detail = f"{len(self._isolation) - len(open_ways)} of {len(self._isolation)} attempts blocked"
            if open_ways:
                first = open_ways[0]
                raise StartFailed(f"{first.actor} must not reach {first.target}: {first.name} was not blocked")

    async def _decided_again(self, decision: GateDecision) -> None:
        """The gate while the machine is up: recorded where it moves, acted on where it closes."""
        if self._record is not None:
            decision = self._record.keep(decision, self._attestation)
        if self._phase is not RunPhase.UP or self._gate is None:
            return
        moved, self._gate = decision.open is not self._gate.open, decision
        if decision.open and moved:
            self._reason = ""
            self.trace.record(EventKind.GATE_OPENED, self.plan.name, **decision.to_json())
        if not decision.open:
            await self._act_on_failed_attestation(decision)

    async def _act_on_failed_attestation(self, decision: GateDecision) -> None:
        self.trace.record(EventKind.GATE_CLOSED, self.plan.name, **decision.to_json())
        self._reason = decision.reason
        if self.plan.launch.on_failure is FailureAction.ALERT:
            return
        keep = self.plan.vms[:-1] if self.plan.launch.on_failure is FailureAction.QUARANTINE else ()
        self._phase = RunPhase.QUARANTINED if keep else RunPhase.FAILED
        try:
            for vm in reversed(self.plan.vms):
                if vm not in keep:
                    await self._stop_vm(vm.name)
        except Exception as error:  # what could not be stopped is switched off
            self._phase = RunPhase.FAILED
            await self.stop(error)
            raise

    def _phases(self, report: PlatformReport) -> dict[str, VmPhase]:
        """Where each VM stands; one that ended, and that the platform starts again by itself, it says so of."""
        ended = {vm.name: vm.phase for vm in report.vms if vm.phase in (VmPhase.FAILED, VmPhase.STARTING)}
        return {vm: ended.get(vm, phase) if phase is VmPhase.HEALTHY else phase for vm, phase in self._vms.items()}

    def _move(self, name: str, event: VmEvent) -> None:
        self._vms[name] = next_phase(self._vms[name], event)
        self._vm_since[name] = self._now()

    def _now(self) -> str:
        return self._clock.wall().isoformat(timespec="seconds")


def _not_had(error: Exception) -> GateDecision:
    return unavailable(f"no attestation could be had: {str(error) or 'the platform did not answer in time'}")
