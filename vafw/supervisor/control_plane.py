"""The control plane beside a running platform: a broker, a controller, and an agent for every appliance of the plan.

An agent runs inside its appliance's guest where the platform's guests can have one, and in this process where not.

It starts when the VMs are healthy and before any traffic: what is committed in the ledger and differs from the
documents is put in force at once, without a broker. Where the documents say something else than they did at the last
run, they are the latest word and become the next generation. So they are where the policy asks for signatures and what
is committed has not those of people who may sign now. After that everything goes over the bus.

An agent or a broker that ends is started again; the VMs do not notice. What this process answers to `vafw config` is in
`ConfigRequests`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vafw.clock import Clock
from vafw.control.access import Access
from vafw.control.agent import Agent, Identity, Report, Running, Spent
from vafw.control.approval import Charter
from vafw.control.broker_mosquitto import MosquittoBroker, installed
from vafw.control.bus import Line
from vafw.control.controller import Controller
from vafw.control.entry import Entry
from vafw.control.envelope import digest_of
from vafw.control.ledger import Ledger
from vafw.control.pacing import Pacing
from vafw.control.topics import CONTROLLER
from vafw.document.load import DocumentSet, load_topology
from vafw.errors import Refused, VafwError
from vafw.machine.mandate import Mandates
from vafw.machine.report import Health
from vafw.plan.plan import Plan, VmPlan, VmRole
from vafw.supervisor.config_drafts import ORIGIN
from vafw.supervisor.config_requests import ConfigRequests
from vafw.supervisor.guest_agents import GuestAgent
from vafw.supervisor.run_directory import RunDirectory
from vafw.trace import EventKind, Trace, Value

LEDGER: Final = "ledger.sqlite"
KEY: Final = "controller.key"
"""The controller's signing key, 32 bytes, readable by its owner alone."""


FIRST_REPORT_S: Final = 2.0
"""How long traffic waits for the agents' first reports, so that what is asked first is answered in full."""


Serves = Callable[[], Coroutine[Any, Any, None]]
"""Serves until it fails or is cancelled; can be called again then."""


class NotInForce(VafwError):
    """What is committed could not be put in force before the traffic began."""


class Configures(Protocol):
    """The part of a platform that the control plane needs."""

    async def configure(self, vm: str, config: Mapping[str, Value]) -> Health:
        """Give a running VM another configuration; where it is not healthy the old one stays."""
        ...

    async def manage(self, vm: str, mandates: Mandates | None) -> bool:
        """Have the agent inside the VM's guest serve, at each boot with a mandate; False where guests run none."""
        ...


class Broker(Protocol):
    """A running broker, on this host's loopback."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        ...

    def access(self, identity: str) -> Access:
        """What lets an identity in from elsewhere."""
        ...

    def line(self, identity: str) -> Line:
        """How an identity reaches it."""
        ...


Opens = Callable[[Configures, RunDirectory, Clock, Trace], AbstractAsyncContextManager[ConfigRequests]]


def control_of(plan: Plan, topology: Path) -> Opens:
    """The control plane for a plan that was compiled from the documents of `topology`.

    Refused where they have changed since: what is changed later would build on something that was never attested.
    """
    documents = load_topology(topology)
    if documents.sha256 != plan.documents:
        raise Refused(f"the documents of {topology} must be as they were when they were compiled, and were changed")

    def opened(
        platform: Configures, directory: RunDirectory, clock: Clock, trace: Trace
    ) -> AbstractAsyncContextManager[ConfigRequests]:
        return _open(_Surroundings(plan, documents, topology, platform, directory, clock, trace))

    return opened


@final
@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a control plane is put into."""

    plan: Plan
    documents: DocumentSet
    topology: Path
    platform: Configures
    directory: RunDirectory
    clock: Clock
    trace: Trace

    @property
    def appliances(self) -> tuple[VmPlan, ...]:
        return tuple(vm for vm in self.plan.vms if vm.role is VmRole.APPLIANCE)


@final
class PlatformApplier:
    """Applies by the platform: the guest swaps its program between two frames."""

    def __init__(self, platform: Configures, vm: str) -> None:
        self._platform = platform
        self._vm = vm

    async def apply(self, config: Mapping[str, Value]) -> Health:
        """Have the platform configure the VM."""
        return await self._platform.configure(self._vm, config)


@asynccontextmanager
async def _open(around: _Surroundings) -> AsyncIterator[ConfigRequests]:
    state = state_folder(around.directory)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    name = around.plan.name
    async with Ledger.open(state / LEDGER, around.clock) as ledger, _broker(around) as broker:
        key = _signing_key(state / KEY)
        charters = {vm.name: _charter(around, vm, key.public_key()) for vm in around.appliances}
        entries = {vm.name: await _put_in_force(around, ledger, vm, charters[vm.name]) for vm in around.appliances}

        inside: dict[str, GuestAgent] = {}

        def heard(appliance: str, report: Report) -> None:
            around.trace.record(EventKind.CONFIG_REPORTED, appliance, **report.to_json())
            if appliance in inside:
                inside[appliance].heard(report)

        def concluded(entry: Entry) -> None:
            if entries[entry.appliance].version != entry.version:
                around.trace.record(EventKind.CONFIG_COMMITTED, entry.appliance, **entry.to_json())
            entries[entry.appliance] = entry

        controller = Controller(
            name, ledger, broker.line(CONTROLLER), key, around.clock, heard=heard, concluded=concluded
        )
        async with asyncio.TaskGroup() as tasks:
            serving = [tasks.create_task(_keep(around, CONTROLLER, controller.run))]
            for vm, entry in tuple(entries.items()):
                own = Ed25519PrivateKey.generate()
                await ledger.enrol(vm, own.public_key())
                identity = Identity(name, vm, own, key.public_key(), around.plan.vm(vm).authority)
                guest = GuestAgent(identity, broker.access(vm), entry, ledger=ledger, broker=broker.address)
                if await around.platform.manage(vm, guest.mandate):
                    inside[vm] = guest
                    continue
                began_with = Running(entry.version, entry.digest, entry.body)
                agents = _agents(identity, broker.line(vm), around, began_with)
                serving.append(tasks.create_task(_keep(around, vm, agents)))
            with suppress(TimeoutError):  # who has not reported by then will; the machine does not wait for it
                async with asyncio.timeout(FIRST_REPORT_S):
                    for each in tuple(entries.values()):
                        await controller.settled(each.appliance, each.version)
            ended_by: BaseException | None = None
            try:
                yield ConfigRequests(
                    controller,
                    ledger,
                    around.documents,
                    around.topology,
                    plan=around.plan,
                    key=key.public_key(),
                    clock=around.clock,
                    trace=around.trace,
                    entries=entries,
                )
            except BaseException as error:  # raised again below, outside the group, which would wrap it
                ended_by = error
            for vm in inside:
                await around.platform.manage(vm, None)
            for task in serving:
                task.cancel()
        if ended_by is not None:
            raise ended_by


async def _keep(around: _Surroundings, whose: str, serve: Serves) -> None:
    """Serve for ever: one that ends, by a fault or because its task was killed, is followed by another."""
    pacing = Pacing(around.clock)
    while True:
        serving = asyncio.create_task(serve(), name=f"vafw[{whose}].control")
        try:
            await asyncio.wait((serving,))
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        around.trace.record(EventKind.CONTROL_LOST, whose, reason=f"{_end_of(serving)}; it is started again")
        await pacing.pause()


def _end_of(served: asyncio.Task[None]) -> str:
    if served.cancelled():
        return "its task was killed"
    error = served.exception()
    while isinstance(error, BaseExceptionGroup):  # a group of tasks wraps what one of them raised
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _agents(identity: Identity, line: Line, around: _Surroundings, running: Running) -> Serves:
    """Serves an agent each time it is called; each knows from the one before it what is confirmed, and what is not."""
    applier, floor = PlatformApplier(around.platform, identity.appliance), running.version

    spent: Spent | None = None

    async def serve() -> None:
        nonlocal running, spent
        agent = Agent(identity, line, applier, around.clock, started_with=running, floor=floor, spent=spent)
        try:
            await agent.run()
        finally:
            running, spent = agent.confirmed, agent.spent

    return serve


def _charter(around: _Surroundings, vm: VmPlan, controller: Ed25519PublicKey) -> Charter | None:
    return Charter(around.plan.name, vm.name, controller, vm.authority) if vm.authority is not None else None


async def _put_in_force(around: _Surroundings, ledger: Ledger, vm: VmPlan, charter: Charter | None) -> Entry:
    """Commit what the documents say where it is new; configure what was committed where it differs from them."""
    entry = await _committed(around, ledger, vm, charter)
    if entry.digest != digest_of(dict(vm.config)):
        health = await around.platform.configure(vm.name, entry.body)
        if not health.healthy:
            raise NotInForce(
                f"generation {entry.version} of {vm.name} must be in force before traffic: {health.reason}",
                hint=f"vafw up --no-control runs what the documents say; {entry.note or 'no note'}",
            )
    return entry


async def _committed(around: _Surroundings, ledger: Ledger, vm: VmPlan, charter: Charter | None) -> Entry:
    """What is to be in force: what the ledger has, unless the documents say something newer, or people never did."""
    body = dict(vm.config)
    origin = digest_of(body)
    if back := await ledger.gone_back(vm.name, "the run ended before it was confirmed"):
        around.trace.record(EventKind.CONFIG_COMMITTED, vm.name, **back.to_json())
    last = next((each for each in await ledger.all_desired() if each.appliance == vm.name), None)
    note = "from the documents"
    if last is not None and last.basis.get(ORIGIN) == origin:
        if not (refusal := last.refusal(charter, given=origin)):
            return last
        note = f"from the documents, for generation {last.version} is not allowed any more: {refusal}"
    basis: dict[str, Value] = {ORIGIN: origin}
    seen = last.version if last else None
    entry = await ledger.commit(vm.name, body, seen=seen, basis=basis, note=note, author="vafw up")
    around.trace.record(EventKind.CONFIG_COMMITTED, vm.name, **entry.to_json())
    return entry


@asynccontextmanager
async def _broker(around: _Surroundings) -> AsyncIterator[Broker]:
    """Run mosquitto where this host has it, else the embedded broker."""
    if installed() is not None:
        folder = around.directory.path / "broker"

        def notice(kind: EventKind, text: str) -> None:
            around.trace.record(kind, "broker", reason=text)

        async with MosquittoBroker.run(around.plan.name, folder, around.clock, notice) as child:
            yield child
        return
    from vafw.control.broker_embedded import EmbeddedBroker  # deferred: where mosquitto is, amqtt is not needed

    async with EmbeddedBroker.run(around.plan.name) as embedded:
        yield embedded


def state_folder(directory: RunDirectory) -> Path:
    """Where the ledger of a topology lies, which outlives runs and reboots.

    ``$VAFW_STATE_DIR``, else below ``$VAFW_RUN_DIR`` where that was chosen, else ``~/.local/state/vafw``.
    """
    if chosen := os.environ.get("VAFW_STATE_DIR"):
        return Path(chosen) / directory.name
    if os.environ.get("VAFW_RUN_DIR"):
        return directory.path / "state"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "vafw" / directory.name / "state"


def _signing_key(path: Path) -> Ed25519PrivateKey:
    """The controller's key, made when it is first needed."""
    try:
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise VafwError(f"{path} must be a signing key of 32 bytes, and is damaged") from error
    key = Ed25519PrivateKey.generate()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(key.private_bytes_raw())
    return key
