"""One run of `up`, from documents to the end: assemble plan, platform and verifier, hold the run directory, serve.

The faces call `run`; everything it decides lies in the parts it joins.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vafw.attest.verifier import Verifier
from vafw.clock import Clock, SystemClock
from vafw.errors import VafwError
from vafw.plan.plan import Plan
from vafw.provider.model.provider import ModelProvider
from vafw.provider.model.tamper import TamperPlan
from vafw.provider.model.traffic import Traffic
from vafw.supervisor.requests import answers, serve
from vafw.supervisor.run_directory import RunDirectory, write_event
from vafw.supervisor.snapshot import Snapshot
from vafw.supervisor.steps import Step
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import Trace, Value


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person chose for one run."""

    traffic: Traffic
    """What feeds the wire and the user's side."""
    tamper: TamperPlan | None = None
    """What to alter on purpose."""
    until_idle: bool = False
    """End when what feeds the machine has ended."""
    duration_s: float | None = None
    """End after so many seconds of being up."""


class RunEnded(VafwError):
    """A run that did not come up; carries what there is to show of it."""

    def __init__(self, error: VafwError, snapshot: Snapshot) -> None:
        super().__init__(error.message, hint=error.hint)
        self.exit_code = error.exit_code  # type: ignore[misc]  # the code of what ended it
        self.snapshot = snapshot

    @property
    def data(self) -> Value:
        """What the JSON document of a failed `up` holds."""
        return self.snapshot.to_json()


async def run(
    plan: Plan,
    options: RunOptions,
    *,
    clock: Clock | None = None,
    directory: RunDirectory | None = None,
    watch: Callable[[Step], None] | None = None,
    ready: Callable[[Snapshot], None] | None = None,
) -> tuple[Snapshot, Trace]:
    """Bring `plan` up on the model platform, keep it up as the options say, and return how it ended."""
    clock = clock or SystemClock()
    directory = directory or RunDirectory(plan.name)
    with directory.hold(), directory.event_log() as log:
        trace = Trace(_since_now(clock), lambda event: write_event(log, event))
        supervisor = _supervisor(plan, options, clock, trace, watch)
        try:
            await supervisor.start()
            if ready is not None:
                ready(supervisor.snapshot())
            await _stay_up(supervisor, directory, options, clock)
            directory.keep("display.png", supervisor.display())
        except VafwError as error:
            raise RunEnded(error, supervisor.snapshot()) from error
        finally:
            await supervisor.stop()
            directory.keep_snapshot(supervisor.snapshot().to_json())
    return supervisor.snapshot(), trace


async def prove(
    plan: Plan, *, tamper: TamperPlan | None = None, watch: Callable[[Step], None] | None = None
) -> Snapshot:
    """Launch and attest `plan` on the model platform, start nothing, and return what the gate said."""
    clock = SystemClock()
    trace = Trace(_since_now(clock))
    supervisor = _supervisor(plan, RunOptions(Traffic(), tamper), clock, trace, watch)
    try:
        await supervisor.prove()
    except VafwError as error:
        raise RunEnded(error, supervisor.snapshot()) from error
    finally:
        await supervisor.stop()
    return supervisor.snapshot()


def _since_now(clock: Clock) -> Callable[[], float]:
    """Seconds since this call."""
    began_s = clock.monotonic()
    return lambda: clock.monotonic() - began_s


def _supervisor(
    plan: Plan, options: RunOptions, clock: Clock, trace: Trace, watch: Callable[[Step], None] | None
) -> Supervisor:
    """The one place where a plan, a platform and a verifier are joined."""
    platform = ModelProvider(
        plan, options.traffic, clock=clock, trace=trace, random=secrets.token_bytes, tamper=options.tamper
    )
    verifier = Verifier(plan.reference, platform.attestation_key, clock, secrets.token_bytes)
    return Supervisor(plan, platform, verifier, clock=clock, trace=trace, watch=watch)


async def _stay_up(supervisor: Supervisor, directory: RunDirectory, options: RunOptions, clock: Clock) -> None:
    ended = asyncio.Event()
    try:
        async with _stopped_by_signal(ended), serve(directory, answers(supervisor, ended.set)):
            directory.keep_snapshot(supervisor.snapshot().to_json())
            await _work_until(ended, supervisor, options, clock)
    except BaseExceptionGroup as failures:
        for failure in failures.exceptions:
            if isinstance(failure, VafwError):
                raise failure from failures
        raise


async def _work_until(ended: asyncio.Event, supervisor: Supervisor, options: RunOptions, clock: Clock) -> None:
    name = supervisor.plan.name
    async with asyncio.TaskGroup() as tasks:
        working = [
            tasks.create_task(_carry(supervisor, options, ended), name=f"vafw[{name}].traffic"),
            tasks.create_task(supervisor.keep_attested(), name=f"vafw[{name}].re-attest"),
        ]
        if options.duration_s is not None:
            waiting = _end_after(clock, options.duration_s, ended)
            working.append(tasks.create_task(waiting, name=f"vafw[{name}].duration"))
        await ended.wait()
        for task in working:
            task.cancel()


async def _carry(supervisor: Supervisor, options: RunOptions, ended: asyncio.Event) -> None:
    await supervisor.carry()
    if options.until_idle:
        ended.set()


async def _end_after(clock: Clock, seconds: float, ended: asyncio.Event) -> None:
    await clock.sleep(seconds)
    ended.set()


@asynccontextmanager
async def _stopped_by_signal(ended: asyncio.Event) -> AsyncIterator[None]:
    """The first Ctrl-C or SIGTERM ends the run cleanly; a second Ctrl-C interrupts."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        ended.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread: the caller stops it
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def load_plan(topology: Path) -> Plan:
    """Read, check and compile a topology for the model platform; InvalidDocument carries every error of every file."""
    from vafw.document.load import load_topology  # deferred with the compiler: tests of `run` bring plans of their own
    from vafw.plan.compile import compile_plan

    return compile_plan(load_topology(topology), ModelProvider.CAPABILITY)


def script_steps(path: Path) -> tuple[Value, ...]:
    """The steps of a traffic script as the user OS takes them; InvalidDocument carries every error."""
    from vafw.document.load import load_document  # deferred: most runs have no script
    from vafw.document.traffic_script import TrafficScript

    script = load_document(path, TrafficScript).model
    return tuple(step.model_dump(exclude_defaults=True) for step in script.steps)
