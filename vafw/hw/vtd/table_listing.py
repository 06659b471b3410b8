"""All that translation tables say, function by function: ranges of device addresses and where they lead.

Neighbouring pages that lead to neighbouring frames with the same rights become one range. What is wrong with a table
stands where it is found and does not end the listing: a reserved bit, a table that cannot be read, a page that was not
dumped. Tables that lead back to themselves would list for ever, so there is a limit, and reaching it is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, final

from vafw.address import Bdf
from vafw.hw.vtd.bits import PagingEntry
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.context import Context, decode_context
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.page_dump import NotDumped
from vafw.hw.vtd.root_table import find_context_table
from vafw.hw.vtd.second_level import SecondLevel, page_size
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked, TableMemory

_TABLES_AT_MOST: Final = 1 << 16
"""Second-level tables of one function, after which its listing ends."""


@final
@dataclass(frozen=True, slots=True)
class Range:
    """Device addresses that are mapped alike."""

    iova: int
    host: int
    size: int
    """Bytes, of one or more pages."""
    rights: int
    page_size: int
    snoop: bool = False

    @property
    def end(self) -> int:
        """The last device address."""
        return self.iova + self.size - 1


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a part of the tables from being used or seen."""

    where: str
    what: str


@final
@dataclass(frozen=True, slots=True)
class FunctionListing:
    """One function with a context entry."""

    source: Bdf
    context: Context | Blocked
    ranges: tuple[Range, ...] = ()
    problems: tuple[Problem, ...] = ()


def list_tables(memory: TableMemory, root_table: int, rules: TableRules) -> Iterator[FunctionListing | Problem]:
    """Every function whose context entry is not empty, in the order of requester ids; problems of whole buses between.

    NotDumped where the root table itself is not there.
    """
    for bus in range(256):
        if not any(memory.read_ram(root_table + bus * 16, 16) or b""):
            continue
        where = f"bus {bus:02x}"
        table = find_context_table(memory, root_table, bus, rules)
        if isinstance(table, Blocked):
            yield Problem(where, table.reason.sentence)
            continue
        try:
            entries = memory.read_ram(table, 4096)
        except NotDumped:
            yield Problem(where, f"its context table at {table:#x} is not in the dump")
            continue
        if entries is None:
            yield Problem(where, FaultReason.CONTEXT_TABLE_UNREADABLE.sentence)
            continue
        for devfn in range(256):
            entry = int.from_bytes(entries[devfn * 16 : devfn * 16 + 16], "little")
            if entry:
                yield _list_function(memory, rules, bus << 8 | devfn, entry)


def _list_function(memory: TableMemory, rules: TableRules, source_id: int, entry: int) -> FunctionListing:
    source = Bdf.from_requester_id(source_id)
    context = decode_context(entry, rules)
    if isinstance(context, Blocked) or context.pass_through:
        return FunctionListing(source, context)
    listed = _Tables(memory, rules, context)
    ranges = tuple(_joined(listed.pages(context.table, context.levels, 0, READ | WRITE)))
    return FunctionListing(source, context, ranges, tuple(listed.problems))


@final
class _Tables:
    """The second-level tables below one context."""

    def __init__(self, memory: TableMemory, rules: TableRules, context: Context) -> None:
        self._memory = memory
        self._rules = rules
        self._walker = SecondLevel(memory, rules)
        self._context = context
        self._left = _TABLES_AT_MOST
        self.problems: list[Problem] = []

    def pages(self, table: int, level: int, first: int, rights: int) -> Iterator[Range]:
        """The pages below one table, which begins at device address `first`."""
        self._left -= 1
        if self._left < 0:
            if self._left == -1:
                self._note(first, f"more than {_TABLES_AT_MOST} tables: the rest is not listed")
            return
        for index, entry in self._entries(table, level, first):
            iova = first + index * page_size(level)
            if iova >= self._context.limit or not entry & rights:
                continue
            if self._walker.is_leaf(entry, level):
                yield from self._leaf(entry, level, iova, rights & entry)
            elif entry & self._rules.table_reserved(level):
                self._note(iova, f"{FaultReason.PAGING_RESERVED.sentence} (level {level}: {entry:#x})")
            else:
                yield from self.pages(entry & PagingEntry.ADDR.mask, level - 1, iova, rights & entry)

    def _entries(self, table: int, level: int, first: int) -> Iterator[tuple[int, int]]:
        """Index and value of every entry that is not zero."""
        try:
            raw = self._memory.read_ram(table, 4096)
        except NotDumped:
            self._note(first, f"the level-{level} table at {table:#x} is not in the dump")
            return
        if raw is None:
            self._note(first, f"the level-{level} table at {table:#x} is no memory")
            return
        words = memoryview(raw).cast("Q")
        yield from ((index, word) for index, word in enumerate(words) if word)

    def _leaf(self, entry: int, level: int, iova: int, rights: int) -> Iterator[Range]:
        leaf = self._walker.decode_leaf(entry, level, rights, quiet=False)
        if isinstance(leaf, Blocked):
            self._note(iova, f"{leaf.reason.sentence} (level {level}: {entry:#x})")
        else:
            yield Range(iova, leaf.frame, leaf.size, leaf.rights, leaf.size, leaf.snoop)

    def _note(self, iova: int, what: str) -> None:
        self.problems.append(Problem(f"device address {iova:#x}", what))


def _joined(pages: Iterator[Range]) -> Iterator[Range]:
    """Neighbours that lead to neighbours, as one."""
    open_range: Range | None = None
    for page in pages:
        if open_range is not None and _continues(open_range, page):
            open_range = replace(open_range, size=open_range.size + page.size)
            continue
        if open_range is not None:
            yield open_range
        open_range = page
    if open_range is not None:
        yield open_range


def _continues(before: Range, page: Range) -> bool:
    return (
        before.iova + before.size == page.iova
        and before.host + before.size == page.host
        and (before.rights, before.page_size, before.snoop) == (page.rights, page.page_size, page.snoop)
    )
