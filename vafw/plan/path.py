"""Ways from the user OS to the wire: a search over what is joined to what.

The graph has a vertex for each VM and each network function, and a joint for each link and each assignment. Frames
can travel along a joint in both directions; what a VM does with them is its own affair, so every VM counts as passing
everything on. A way is *round the path* when it misses an appliance of the path.

The hard part is what need not be searched. A way could also pass every appliance in the wrong order. Let `b`, nearer
to the wire, come before `a`: from `b` the path itself leads on to the wire without `a`, so there is a way that misses
`a`. Looking for ways that miss one appliance therefore finds a way round whenever there is one, in linear time each
instead of over all simple ways. The tests compare with exactly that exhaustive search.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Joint:
    """Two vertices between which frames can travel."""

    one: str
    other: str
    one_port: str = ""
    """Port of `one`, where it is worth saying: empty for the path's own links and for assignments."""
    other_port: str = ""
    origin: tuple[str | int, ...] = ()
    """Where the topology says so: the keys that lead there."""

    def from_(self, vertex: str) -> Step | None:
        """The step along this joint that leaves `vertex`, or None where the joint does not touch it."""
        if vertex == self.one:
            return Step(self.other, self.other_port, self)
        if vertex == self.other:
            return Step(self.one, self.one_port, self)
        return None


@dataclass(frozen=True, slots=True)
class Step:
    """An arrival at a vertex by one of its ports."""

    vertex: str
    port: str
    by: Joint

    def __str__(self) -> str:
        return f"{self.vertex}.{self.port}" if self.port else self.vertex


@dataclass(frozen=True, slots=True)
class Way:
    """A way through the graph: where it starts and each arrival after that."""

    start: str
    steps: tuple[Step, ...]

    @property
    def vertices(self) -> tuple[str, ...]:
        """What it visits, in order."""
        return (self.start, *(step.vertex for step in self.steps))

    def __str__(self) -> str:
        return " -> ".join((self.start, *map(str, self.steps)))


def shortest_way(
    joints: Collection[Joint], start: str, ends: Collection[str], avoiding: Collection[str] = ()
) -> Way | None:
    """The shortest way from `start` to any of `ends` that visits nothing of `avoiding`; None where there is none.

    Of several shortest ways it is the one whose joints come first, so the answer never depends on hashing.
    """
    reached = {start}
    queue = deque([Way(start, ())])
    while queue:
        way = queue.popleft()
        here = way.vertices[-1]
        if here in ends:
            return way
        for step in (joint.from_(here) for joint in joints):
            if step is not None and step.vertex not in reached and step.vertex not in avoiding:
                reached.add(step.vertex)
                queue.append(Way(start, (*way.steps, step)))
    return None


def ways_round(
    joints: Collection[Joint], start: str, ends: Collection[str], required: Iterable[str]
) -> tuple[Way, ...]:
    """The ways from `start` to one of `ends` that miss at least one of `required`, each once, shortest first."""
    found = (shortest_way(joints, start, ends, avoiding=(missed,)) for missed in required)
    return tuple(sorted(dict.fromkeys(way for way in found if way is not None), key=lambda way: len(way.steps)))


def ways_past(joints: Collection[Joint], start: str, ends: Collection[str], missed: str) -> Iterator[Way]:
    """Every way from `start` to one of `ends` that visits nothing twice and never `missed`, the path's own order first.

    There are as many as the graph has simple ways; a topology has a handful of joints beside its path.
    """
    waiting = [Way(start, ())]
    while waiting:
        way = waiting.pop(0)
        here = way.vertices[-1]
        if here in ends:
            yield way
            continue
        for step in (joint.from_(here) for joint in joints):
            if step is not None and step.vertex != missed and step.vertex not in way.vertices:
                waiting.append(Way(start, (*way.steps, step)))
