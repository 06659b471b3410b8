"""The steps of a start as a tree with times: what a person watches while `up` works."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import final

from vafw.clock import Clock
from vafw.trace import Value


class StepState(StrEnum):
    """Where a step stands."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """Ended from outside before it was done: by Ctrl-C, by `vafw down`, by the end of its time."""
    FAILED = "failed"


@dataclass(slots=True)
class Step:
    """One step; its state changes until it ends."""

    title: str
    depth: int
    state: StepState = StepState.RUNNING
    detail: str = ""
    elapsed_s: float = 0.0
    notes: list[tuple[str, str]] = field(default_factory=list)
    """Smaller things that happened within it: name and detail."""

    def to_json(self) -> dict[str, Value]:
        """The step as a JSON object."""
        return {
            "title": self.title,
            "depth": self.depth,
            "state": self.state.value,
            "detail": self.detail,
            "elapsed-s": round(self.elapsed_s, 4),
            "notes": [{"name": name, "detail": detail} for name, detail in self.notes],
        }


@final
class StepTree:
    """The steps so far, in the order they began; `watch` is called whenever one begins or ends."""

    def __init__(self, clock: Clock, watch: Callable[[Step], None] | None = None) -> None:
        self._clock = clock
        self._watch = watch
        self._depth = 0
        self.steps: list[Step] = []

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step that lasts as long as the block; an exception marks it failed, a cancellation stopped."""
        step = Step(title, self._depth)
        self.steps.append(step)
        self._tell(step)
        started = self._clock.monotonic()
        self._depth += 1
        try:
            yield step
        except BaseException as error:
            step.state = StepState.STOPPED if isinstance(error, CancelledError) else StepState.FAILED
            raise
        else:
            if step.state is StepState.RUNNING:
                step.state = StepState.DONE
        finally:
            self._depth -= 1
            step.elapsed_s = self._clock.monotonic() - started
            self._tell(step)

    def to_json(self) -> list[Value]:
        """Every step as a JSON object."""
        return [step.to_json() for step in self.steps]

    def _tell(self, step: Step) -> None:
        if self._watch is not None:
            self._watch(step)
