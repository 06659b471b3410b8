"""One translation with every entry on its way: the walkers of the unit, watched.

The walkers themselves are not told: they read from a memory that writes down what they read. The order of the reads is
the walk's, root entry, context entry, then one paging entry a level, so it names the structures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from vafw.errors import VafwError
from vafw.hw.vtd.bits import ContextEntry, PagingEntry, RootEntry
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.context import Context, find_context
from vafw.hw.vtd.page_dump import NotDumped
from vafw.hw.vtd.second_level import Leaf, SecondLevel
from vafw.hw.vtd.table_walk import Blocked, TableMemory
from vafw.register import Layout


@final
@dataclass(frozen=True, slots=True)
class Step:
    """One entry that the walk read."""

    structure: str
    """For instance ``level-2 entry``."""
    address: int
    value: int
    layout: type[Layout]

    @property
    def fields(self) -> str:
        """The entry's fields that are not zero."""
        return self.layout.describe(self.value)


@final
@dataclass(frozen=True, slots=True)
class RecordedWalk:
    """A translation, and how it came about."""

    steps: tuple[Step, ...]
    context: Context | None
    """None where the walk ended before it."""
    outcome: Leaf | Blocked


@final
class HoleOnTheWay(VafwError):
    """The walk came to a table that was not dumped."""


@dataclass(slots=True)
class _Watched:
    """Memory that writes down what is read of it."""

    memory: TableMemory
    reads: list[tuple[int, int]] = field(default_factory=list)

    def read_ram(self, address: int, length: int) -> bytes | None:
        data = self.memory.read_ram(address, length)
        if data is not None:
            self.reads.append((address, int.from_bytes(data, "little")))
        return data

    def read_ram_u64(self, address: int) -> int | None:
        value = self.memory.read_ram_u64(address)
        if value is not None:
            self.reads.append((address, value))
        return value


def record_walk(
    memory: TableMemory, root_table: int, rules: TableRules, source_id: int, *, iova: int, right: int
) -> RecordedWalk:
    """Translate and keep the steps; HoleOnTheWay names the table that is missing, and the steps up to it."""
    watched = _Watched(memory)
    context: Context | None = None
    try:
        found = find_context(watched, root_table, source_id, rules)
        if isinstance(found, Blocked):
            return RecordedWalk(_steps(watched.reads, None), None, found)
        context = found
        outcome = SecondLevel(watched, rules).leaf(context, iova, right)
    except NotDumped as missing:
        names = _names(context, len(watched.reads) + 1)
        table = missing.address & ~0xFFF
        raise HoleOnTheWay(
            f"the walk of {iova:#x} needs the {names[-1][0]} at {missing.address:#x}, "
            f"and the page at {table:#x} is not in the dump",
            hint=f"dump the page and add --memory FILE@{table:#x}",
        ) from missing
    return RecordedWalk(_steps(watched.reads, context), context, outcome)


def _steps(reads: list[tuple[int, int]], context: Context | None) -> tuple[Step, ...]:
    names = _names(context, len(reads))
    return tuple(
        Step(name, address, value, layout) for (name, layout), (address, value) in zip(names, reads, strict=True)
    )


def _names(context: Context | None, count: int) -> list[tuple[str, type[Layout]]]:
    """What the first `count` reads of a walk are."""
    levels = context.levels if context is not None else 0
    below = [(f"level-{level} entry", PagingEntry) for level in range(levels, 0, -1)]
    return [("root entry", RootEntry), ("context entry", ContextEntry), *below][:count]
