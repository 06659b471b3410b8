"""What drives the modelled machine once it is up: frames in at both ends, time moved on, frames out again.

    CaptureFeeder   in lockstep: the machine comes to rest after each frame, its time is the capture's
    LiveFeeder      between two taps, in real time
    ScriptFeeder    the user OS acts, a `Peer` answers, time jumps to the next thing that waits
    IdleFeeder      nothing plugged in; guests still get their timers

The hard part is that a guest sees one clock: the time handed to the machine never goes back. The date it stands for is
the capture's while one is replayed, else the host's at the beginning, or the one that the run was told.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, final

from vafw.clock import Clock
from vafw.errors import PlatformUnable
from vafw.plan.plan import Plan
from vafw.provider.model.machine import Emitted, ModelMachine
from vafw.provider.model.tap import Tap
from vafw.provider.model.traffic import Feed, Traffic
from vafw.provider.model.wire import CaptureReplay, ResultsWriter, Side
from vafw.provider.peer import Peer, peers
from vafw.trace import Value

_YIELD_EVERY: Final = 32
"""Frames between two moments in which requests to the running machine are answered."""
_ASK_EVERY: Final = 512
"""Frames between two looks at what the appliances dropped, where the results are written."""
_SCRIPT_LIMIT_S: Final = 3600.0
"""A script that has not ended by then is cut off: virtual time, not the host's."""
_BATCH: Final = 64
_TICK_S: Final = 0.1
"""How late a guest's timer may be while no frame comes."""


class Feeder(Protocol):
    """Drives the machine until its feed has ended."""

    @property
    def now_ns(self) -> int:
        """The machine's time now."""
        ...

    async def carry(self) -> None:
        """Drive until the feed has ended and the machine is at rest."""
        ...

    def counters(self) -> Mapping[str, Value]:
        """Frames in and out at both ends."""
        ...

    def close(self) -> None:
        """Let go of what the host lent; safe to call twice."""
        ...


def feeder_for(
    traffic: Traffic, machine: ModelMachine, plan: Plan, clock: Clock, keep_records: Callable[[], None]
) -> Feeder:
    """The feeder of a run's traffic; `keep_records` is called now and then while it drives."""
    ends = Ends(machine, keep_records, traffic.unplugged)
    if traffic.feed is Feed.CAPTURE and traffic.capture is not None:
        replay = CaptureReplay(traffic.capture, plan.wire.mac or "")
        machine.vmm.set_wall_clock(_since_1970_ns(traffic.date) if traffic.date else replay.start_ns)
        results = ResultsWriter(traffic.results, replay.start_ns) if traffic.results else None
        return CaptureFeeder(ends, replay, results)
    machine.vmm.set_wall_clock(_since_1970_ns(traffic.date or clock.wall()))
    results = ResultsWriter(traffic.results) if traffic.results else None
    if traffic.feed is Feed.LIVE:
        taps = {name or machine.wires[0]: Tap(tap) for name, tap in traffic.wire_taps.items()}
        return LiveFeeder(ends, taps, Tap(traffic.user_tap), clock, results)
    if traffic.feed is Feed.SCRIPT:
        return ScriptFeeder(ends, peers(plan), clock, results)
    return IdleFeeder(ends, clock)


def _since_1970_ns(moment: datetime) -> int:
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86400 + elapsed.seconds) * 1_000_000_000 + elapsed.microseconds * 1000


@final
class Ends:
    """Both ends of the machine with their counters, and its time."""

    def __init__(
        self, machine: ModelMachine, keep_records: Callable[[], None], unplugged: Mapping[str, float] | None = None
    ) -> None:
        """`unplugged`: network functions whose cable is pulled, and at how many seconds of the machine's time."""
        self.machine = machine
        self.keep_records = keep_records
        self.now_ns = 0
        self._unplugged = unplugged or {}
        self._entered: Counter[str] = Counter()
        self._left: Counter[str] = Counter()

    def enter(self, side: Side, frame: bytes, function: str | None = None) -> None:
        """Put a frame in at one side; at the wire of a network function, the path's own where none is named."""
        if side is Side.USER:
            self._entered[Side.USER] += 1
            self.machine.from_user(frame)
            return
        function = function or self.machine.wires[0]
        if not self._is_unplugged(function):
            self._entered[function] += 1
            self.machine.from_wire(frame, function)

    def settle(self, now_ns: int) -> Emitted:
        """Let the machine work until it is at rest."""
        self.now_ns = max(self.now_ns, now_ns)
        emitted = self.machine.settle(self.now_ns)
        wires = {name: () if self._is_unplugged(name) else frames for name, frames in emitted.wires.items()}
        self._left.update({name: len(frames) for name, frames in wires.items()})
        self._left[Side.USER] += len(emitted.user)
        return Emitted(wires, emitted.user)

    def emissions(self, emitted: Emitted) -> Iterator[tuple[str, bytes]]:
        """Each frame that came out, with what results call the interface where it did."""
        for name, frames in emitted.wires.items():
            yield from ((Side.WIRE if name == self.machine.wires[0] else name, each) for each in frames)
        yield from ((Side.USER, each) for each in emitted.user)

    def _is_unplugged(self, function: str) -> bool:
        return function in self._unplugged and self.now_ns >= self._unplugged[function] * 1e9

    def counters(self) -> dict[str, Value]:
        """Frames in and out at both ends, and where there are several wires, at each."""
        wires = self.machine.wires
        each_wire: dict[str, Value] = {
            f"{way}-{name}": count[name]
            for name in wires
            for way, count in (("from", self._entered), ("to", self._left))
        }
        return {
            "frames": sum(self._entered.values()),
            "from-wire": sum(self._entered[name] for name in wires),
            "from-user": self._entered[Side.USER],
            "to-user": self._left[Side.USER],
            "to-wire": sum(self._left[name] for name in wires),
            **(each_wire if len(wires) > 1 else {}),
            "lost": self.machine.frames_lost,
        }


@final
class CaptureFeeder:
    """Replays a capture in lockstep."""

    def __init__(self, ends: Ends, replay: CaptureReplay, results: ResultsWriter | None) -> None:
        self._ends = ends
        self._replay = replay
        self._results = results
        self._base_ns = ends.now_ns
        self._stayed: list[tuple[bytes, float]] = []
        """Frames that came out nowhere, with their times; kept only where the results are written."""
        self._deciders: dict[int, tuple[str, str]] = {}
        """Appliance and rule by the CRC-32 of the frame that they let end."""

    @property
    def now_ns(self) -> int:
        """The machine's time: the capture's, from its first frame on."""
        return self._ends.now_ns

    async def carry(self) -> None:
        """Replay every frame, each when the one before it has come to rest."""
        for number, each in enumerate(self._replay, 1):
            self._ends.enter(each.side, each.frame)
            emitted = self._ends.settle(self._base_ns + int(each.time_s * 1e9))
            if self._results is not None:
                self._write(self._results, each.side, each.frame, each.time_s, emitted)
                if number % _ASK_EVERY == 0:
                    self._ask_who_dropped()
            if number % _YIELD_EVERY == 0:
                self._ends.keep_records()
                await asyncio.sleep(0)
        if self._results is not None:
            self._write_dropped(self._results)
            self._results.close()

    def counters(self) -> Mapping[str, Value]:
        """Frames in and out at both ends."""
        return self._ends.counters()

    def close(self) -> None:
        """End the results."""
        if self._results is not None:
            self._results.close()

    def _write(self, results: ResultsWriter, side: Side, frame: bytes, time_s: float, emitted: Emitted) -> None:
        for interface, each in self._ends.emissions(emitted):
            results.left(interface, each, time_s)
        if frame not in (emitted.user if side is Side.WIRE else emitted.wire):
            self._stayed.append((frame, time_s))

    def _ask_who_dropped(self) -> None:
        for vm, report in self._ends.machine.reports().items():
            endings = report.get("endings")
            for each in endings if isinstance(endings, list) else ():
                crc = each.get("crc32") if isinstance(each, dict) else None  # a guest's word: it may be anything
                if isinstance(each, dict) and isinstance(crc, int):
                    self._deciders[crc] = (vm, str(each.get("rule")))

    def _write_dropped(self, results: ResultsWriter) -> None:
        self._ask_who_dropped()
        for frame, time_s in self._stayed:
            appliance, rule = self._deciders.get(zlib.crc32(frame), ("machine", "(no record)"))
            results.dropped(frame, time_s, appliance, rule)


@final
class LiveFeeder:
    """Carries frames between two taps and the machine."""

    def __init__(
        self, ends: Ends, wires: Mapping[str, Tap], user: Tap, clock: Clock, results: ResultsWriter | None
    ) -> None:
        """`wires`: the tap behind each network function; what leaves by one that has none is gone."""
        self._ends = ends
        self._wires = wires
        self._user = user
        self._clock = clock
        self._results = results
        self._began_s = clock.monotonic()
        self._arrived = asyncio.Event()

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the feed began."""
        return int((self._clock.monotonic() - self._began_s) * 1e9)

    async def carry(self) -> None:
        """Carry frames until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(Side.USER, self._user, None), name=f"vafw[{self._user.name}].user")
            for function, tap in self._wires.items():
                tasks.create_task(self._listen(Side.WIRE, tap, function), name=f"vafw[{tap.name}].{function}")
            if self._ends.machine.vmm.next_deadline_ns is not None:
                tasks.create_task(self._keep_time(), name="vafw[timers]")

    def counters(self) -> Mapping[str, Value]:
        """Frames in and out at both ends, and those the host did not take."""
        return {**self._ends.counters(), "not-taken-by-host": sum(tap.lost for tap in self._taps)}

    def close(self) -> None:
        """Close both taps and the results."""
        for tap in self._taps:
            tap.close()
        if self._results is not None:
            self._results.close()

    @property
    def _taps(self) -> tuple[Tap, ...]:
        return (*self._wires.values(), self._user)

    async def _keep_time(self) -> None:
        """Guests whose timer is due are interrupted, though no frame comes."""
        while True:
            await self._clock.sleep(_TICK_S)
            self._emit(self._ends.settle(self.now_ns))

    async def _listen(self, side: Side, tap: Tap, function: str | None) -> None:
        while True:
            frame: bytes | None = await tap.receive()
            for _ in range(_BATCH):
                if frame is None:
                    break
                self._ends.enter(side, frame, function)
                frame = tap.receive_now()
            else:
                if frame is not None:
                    self._ends.enter(side, frame, function)
            self._emit(self._ends.settle(self.now_ns))
            self._ends.keep_records()
            await asyncio.sleep(0)

    def _emit(self, emitted: Emitted) -> None:
        for function, frames in emitted.wires.items():
            if function in self._wires:
                for frame in frames:
                    self._wires[function].send(frame)
        for frame in emitted.user:
            self._user.send(frame)
        if self._results is not None:
            for interface, frame in self._ends.emissions(emitted):
                self._results.left(interface, frame, self.now_ns / 1e9)


@final
class ScriptFeeder:
    """Lets the user OS follow its script against a small internet, as fast as the host can."""

    def __init__(self, ends: Ends, peers: Mapping[str, Peer], clock: Clock, results: ResultsWriter | None) -> None:
        """`peers`: what is behind the wire of each network function."""
        self._ends = ends
        self._peers = peers
        self._clock = clock
        self._results = results
        self._began_ns = ends.now_ns

    @property
    def now_ns(self) -> int:
        """The machine's time, which runs ahead of the host's."""
        return self._ends.now_ns

    async def carry(self) -> None:
        """Run until the script has ended."""
        while True:
            self._exchange()
            self._ends.keep_records()
            await asyncio.sleep(0)
            if self._script_ended():  # before the deadline, which is far off then
                break
            due_ns = self._ends.machine.vmm.next_deadline_ns
            if due_ns is None or due_ns - self._began_ns > _SCRIPT_LIMIT_S * 1e9:
                raise PlatformUnable("the script must come to an end, and it waits for something that will not happen")
            self._ends.now_ns = due_ns
        if self._results is not None:
            self._results.close()

    def counters(self) -> Mapping[str, Value]:
        """Frames in and out at both ends."""
        return self._ends.counters()

    def close(self) -> None:
        """End the results."""
        if self._results is not None:
            self._results.close()

    def _exchange(self) -> None:
        emitted = self._ends.settle(self.now_ns)
        while emitted.wire:
            now_s = self.now_ns / 1e9
            if self._results is not None:
                for interface, frame in self._ends.emissions(emitted):
                    self._results.left(interface, frame, now_s)
            for function, frames in emitted.wires.items():
                for answer in (each for frame in frames for each in self._peers[function].handle(frame, now_s)):
                    self._ends.enter(Side.WIRE, answer, function)
            emitted = self._ends.settle(self.now_ns)

    def _script_ended(self) -> bool:
        user_os = list(self._ends.machine.reports().values())[-1]
        return user_os.get("script-over") is True


@final
class IdleFeeder:
    """Moves time on for guests that wait for it; no frame comes or goes."""

    def __init__(self, ends: Ends, clock: Clock) -> None:
        self._ends = ends
        self._clock = clock
        self._began_s = clock.monotonic()

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the feed began."""
        return int((self._clock.monotonic() - self._began_s) * 1e9)

    async def carry(self) -> None:
        """Nothing feeds the machine: it is idle at once."""
        self._ends.settle(self.now_ns)

    def counters(self) -> Mapping[str, Value]:
        """Nothing enters and nothing leaves."""
        return self._ends.counters()

    def close(self) -> None:
        """Nothing to let go of."""
