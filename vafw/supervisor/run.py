"""One run of `up`, from start to end: hold the run directory, bring the plan up, serve requests, stop clean.

Which platform it runs on is the face's choice: it hands over a function that makes the platform and its verifier.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from vafw.clock import Clock, SystemClock
from vafw.errors import ExitCode, NotRunning, VafwError
from vafw.plan.plan import Plan
from vafw.supervisor.answers import DetailedAnswer, answers, serve
from vafw.supervisor.gate_record import GateRecord
from vafw.supervisor.platform import Appraiser, Platform
from vafw.supervisor.run_directory import RunDirectory, write_event
from vafw.supervisor.snapshot import RunPhase, Snapshot
from vafw.supervisor.steps import Step
from vafw.supervisor.supervisor import Supervisor
from vafw.trace import EventKind, Trace, TraceEvent, Value

Assembly = Callable[[Clock, Trace], tuple[Platform, Appraiser]]
"""Makes the platform and the verifier that knows it; both stamp with the clock, the platform records into the trace."""


class Configured(Protocol):
    """An open control plane, as far as a run needs it."""

    async def answer(self, request: Mapping[str, Value]) -> Value:
        """Answer one request of `vafw config`."""
        ...

    def states(self) -> Mapping[str, Mapping[str, Value]]:
        """What each appliance is to have, and what it reports."""
        ...


CLOSING_S: Final = 15.0
"""How long control plane and requests may take to close; a run ends without them then."""
_SAID: Final = frozenset({EventKind.RUN_CLEARED, EventKind.CONTROL_LOST, EventKind.CONTROL_BACK})
"""Events that whoever started the run is told at once."""
SWITCH_S: Final = 0.0005
"""After how long another thread of this process gets its turn."""

Control = Callable[[Platform, RunDirectory, Clock, Trace], AbstractAsyncContextManager[Configured]]
"""Opens the control plane of a run, once its VMs are healthy; `vafw.supervisor.control_plane` makes one."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person chose for one run."""

    until_idle: bool = False
    """End when what feeds the machine has ended."""
    duration_s: float | None = None
    """End after so many seconds of being up."""


class StoppedEarly(VafwError):
    """Ctrl-C, SIGTERM or `vafw down` came before the run was up; whatever had started was stopped again."""

    exit_code = ExitCode.INTERRUPTED


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
    assembly: Assembly,
    options: RunOptions,
    *,
    clock: Clock | None = None,
    directory: RunDirectory | None = None,
    watch: Callable[[Step], None] | None = None,
    ready: Callable[[Snapshot], None] | None = None,
    control: Control | None = None,
    said: Callable[[str], None] | None = None,
    record: GateRecord | None = None,
) -> tuple[Snapshot, Trace]:
    """Bring `plan` up, keep it up as the options say, and return how it ended; RunEnded where it failed.

    Requests are taken and Ctrl-C ends the run cleanly from the first moment; `ready` is called once traffic flows.
    With `control` the appliances are configured over the network from then on. `said` is told, in a sentence, what was
    cleared of an earlier run and what becomes of the control plane. `record` keeps what the gate decides.
    """
    clock = clock or SystemClock()
    directory = directory or RunDirectory(plan.name)
    with _quick_threads(), directory.hold() as left, directory.event_log() as log:

        def keep(event: TraceEvent) -> None:
            write_event(log, event)
            if said is not None and event.kind in _SAID:
                said(f"{event.subject}: {event.detail['reason']}")

        trace = Trace(_since_now(clock), keep)
        if left:
            trace.record(EventKind.RUN_CLEARED, plan.name, reason=left)
        platform, appraiser = assembly(clock, trace)
        supervisor = Supervisor(plan, platform, appraiser, clock=clock, trace=trace, watch=watch, record=record)
        ended = asyncio.Event()
        detailed: dict[str, DetailedAnswer] = {"config": _no_control}

        def is_up(snapshot: Snapshot) -> None:
            directory.keep_snapshot(snapshot.to_json())
            if ready is not None:
                ready(snapshot)

        try:
            async with (
                _stopped_by_signal(ended),
                serve(directory, answers(supervisor, ended.set), detailed) as desk,
                _closing_in_time(trace) as planes,
            ):
                await _unless(ended, supervisor.start(), plan.name)
                if control is not None:
                    plane = await planes.enter_async_context(control(platform, directory, clock, trace))
                    detailed["config"], supervisor.configured = plane.answer, plane.states
                planes.push_async_callback(desk.close)  # first of all, while there is something to answer
                await _stay_up(supervisor, options, clock, ended, is_up)
            with suppress(VafwError):  # no display is assigned, or the user OS was stopped
                directory.keep("display.png", supervisor.display())
            supervisor.require_kept()
        except VafwError as error:
            await supervisor.stop(error)
            raise RunEnded(error, supervisor.snapshot()) from error
        finally:
            await supervisor.stop()
            directory.keep_snapshot(supervisor.snapshot().to_json())
    return supervisor.snapshot(), trace


async def _no_control(_request: Mapping[str, Value]) -> Value:
    raise NotRunning("appliances must be configured by a control plane, and this run has none (yet)")


async def prove(plan: Plan, assembly: Assembly, *, watch: Callable[[Step], None] | None = None) -> Snapshot:
    """Launch and attest, start nothing, and return what the gate said; RunEnded where it stays closed."""
    clock = SystemClock()
    trace = Trace(_since_now(clock))
    platform, appraiser = assembly(clock, trace)
    supervisor = Supervisor(plan, platform, appraiser, clock=clock, trace=trace, watch=watch)
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


async def _unless(ended: asyncio.Event, work: Coroutine[Any, Any, None], name: str) -> None:
    """Do `work` unless the run is ended before it is done; StoppedEarly where it was."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise StoppedEarly(f"{name} was stopped before it was up")
        working.result()
    finally:
        for each in (working, ending):
            each.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)


@asynccontextmanager
async def _closing_in_time(trace: Trace) -> AsyncIterator[AsyncExitStack]:
    """A stack that is given up where it does not unwind in time; what it leaves ends with this process."""
    planes = AsyncExitStack()
    try:
        yield planes
    finally:
        try:
            async with asyncio.timeout(CLOSING_S):
                await planes.aclose()
        except TimeoutError:
            trace.record(EventKind.CONTROL_LOST, "control", reason=f"it must close within {CLOSING_S:g} s")


@contextmanager
def _quick_threads() -> Iterator[None]:
    """Let other threads, the ledger's among them, have their turn soon.

    A loop that always has work lets go of the interpreter's lock for moments only, and whoever wakes up too late for
    one starts to wait anew: with 5 ms, the default, the ledger's commits took seconds beside a replay whose turns are
    as long.
    """
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


async def _stay_up(
    supervisor: Supervisor,
    options: RunOptions,
    clock: Clock,
    ended: asyncio.Event,
    ready: Callable[[Snapshot], None],
) -> None:
    try:
        ready(supervisor.snapshot())
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
            tasks.create_task(_kept(supervisor, supervisor.keep_attested, ended), name=f"vafw[{name}].re-attest"),
            tasks.create_task(_kept(supervisor, supervisor.watch_boot, ended), name=f"vafw[{name}].boot"),
            tasks.create_task(_kept(supervisor, supervisor.watch_evidence, ended), name=f"vafw[{name}].evidence"),
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


async def _kept(supervisor: Supervisor, keep: Callable[[], Awaitable[None]], ended: asyncio.Event) -> None:
    await keep()
    if supervisor.phase is RunPhase.FAILED:
        ended.set()


async def _end_after(clock: Clock, seconds: float, ended: asyncio.Event) -> None:
    await clock.sleep(seconds)
    ended.set()


@asynccontextmanager
async def _stopped_by_signal(ended: asyncio.Event) -> AsyncIterator[None]:
    """The first Ctrl-C or SIGTERM ends the run cleanly, also while it starts; a second one interrupts."""
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
