"""What is known of a run: looks at its run directory from outside, as every other face may.

A look asks the running `up` over its socket, or reads what the last run left. It blocks, so the app looks in a thread.
`Traces` keeps what a sparkline draws: how much each counter moved from one look to the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from vafw.errors import NotRunning, VafwError
from vafw.supervisor.requests import ask
from vafw.supervisor.run_directory import RunDirectory

Json = Mapping[str, Any]

LOOKS_KEPT: Final = 60
"""How many looks back a sparkline goes."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    running: bool = False
    snapshot: Json = field(default_factory=dict)
    """The snapshot of the running or of the last run; empty where there is none."""
    events: Sequence[Json] = ()
    trouble: str = ""
    """Why nothing more could be seen."""

    @property
    def phase(self) -> str:
        """Where the run stands, in a word that has a mark."""
        if not self.snapshot:
            return "starting" if self.running else "none"
        return str(self.snapshot["phase"])


class Feed(Protocol):
    """Whatever can be looked at."""

    def look(self) -> Look:
        """See what there is now; may block."""
        ...

    def request(self, name: str) -> None:
        """Ask the running `up` for something; may block, VafwError where it is refused."""
        ...


@final
class RunFeed:
    """The feed of one topology's run directory."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    def look(self) -> Look:
        """Ask the running `up`, else read what the last run left."""
        running = self._run.is_held()
        try:
            snapshot = ask(self._run, "status") if running else self._run.last_snapshot()
        except NotRunning:
            return Look(running)
        except VafwError as error:
            return Look(running, trouble=error.message)
        return Look(running, snapshot if isinstance(snapshot, dict) else {}, self._events())

    def request(self, name: str) -> None:
        """Ask the running `up`."""
        ask(self._run, name)

    def _events(self) -> Sequence[Json]:
        try:
            return self._run.events()
        except (NotRunning, ValueError):
            return ()


@final
class Traces:
    """How each link's counters moved, look by look."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._moves: dict[str, deque[float]] = {}
        self._since = ""

    def take(self, snapshot: Json) -> None:
        """Note one look; another run begins anew."""
        if snapshot.get("since") != self._since:
            self._since = str(snapshot.get("since"))
            self._last, self._moves = {}, {}
        for link in snapshot.get("links", ()):
            name, total = str(link["name"]), int(link["frames-in"]) + int(link["frames-out"])
            moves = self._moves.setdefault(name, deque(maxlen=LOOKS_KEPT))
            moves.append(max(0, total - self._last.get(name, total)))
            self._last[name] = total

    def of(self, link: str) -> list[float]:
        """Frames that crossed a link from each look to the next, the latest last."""
        return list(self._moves.get(link, ()))
