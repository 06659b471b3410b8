"""What the unit remembers, against a model of it: stale entries are served until the right invalidation, never after.

Two functions, each with a domain and tables of its own; two regions of 2 MiB, each with two tables of leaves of which
the level-2 entry names one. Software changes leaves and level-2 entries behind the unit's back, and invalidates.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.hw.vtd.bench import CONTEXT, IOTLB, IVA, NIC, OTHER, PAGE, ROOT, Bench

FUNCTIONS = {5: NIC, 6: OTHER}
DOMAIN = st.sampled_from(list(FUNCTIONS))
REGION = st.integers(0, 1)
INDEX = st.integers(0, 5)
Key = tuple[int, int]


def table(domain: int, number: int) -> int:
    """The 16 tables of a domain: 0 to 2 lead down, 4 to 7 are leaves of region 0 and 1, two each."""
    return 0x10_0000 + (domain - 5) * 0x1_0000 + number * 0x1000


class StaleUntilInvalidated(RuleBasedStateMachine):
    """Every rule changes the unit and the model alike."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.leaves: dict[tuple[int, int, int, int], int] = {}
        """(domain, region, which table, index) to the leaf as software last wrote it."""
        self.named = {(domain, region): 0 for domain in FUNCTIONS for region in (0, 1)}
        """Which of its two tables a region's level-2 entry names."""
        self.directories: dict[Key, int] = {}
        self.pages: dict[tuple[int, int, bool], int] = {}
        """(domain, page, write) to the host page."""
        for domain, function in FUNCTIONS.items():
            context = CONTEXT + (domain - 5) * 0x1000
            self.bench.set(ROOT + function.bus * 16, context | 1)
            self.bench.set(context + function.devfn * 16, table(domain, 0) | 1)
            self.bench.set(context + function.devfn * 16 + 8, domain << 8 | 2)
            self.bench.set(table(domain, 0), table(domain, 1) | 3)
            self.bench.set(table(domain, 1), table(domain, 2) | 3)
            for region in (0, 1):
                self.bench.set(table(domain, 2) + region * 8, table(domain, 4 + region * 2) | 3)
        self.bench.start()

    @rule(domain=DOMAIN, region=REGION, which=st.integers(0, 1), index=INDEX, frame=INDEX, rights=st.integers(0, 3))
    def change_leaf(self, *, domain: int, region: int, which: int, index: int, frame: int, rights: int) -> None:
        self.leaves[domain, region, which, index] = leaf = PAGE + (frame << 12) | rights
        self.bench.set(table(domain, 4 + region * 2 + which) + index * 8, leaf)

    @rule(domain=DOMAIN, region=REGION, which=st.integers(0, 1))
    def change_directory(self, domain: int, region: int, which: int) -> None:
        self.named[domain, region] = which
        self.bench.set(table(domain, 2) + region * 8, table(domain, 4 + region * 2 + which) | 3)

    @rule(domain=DOMAIN, region=REGION, index=INDEX, write=st.booleans())
    def use(self, domain: int, region: int, index: int, write: bool) -> None:
        iova = region << 21 | index << 12
        answer = self.bench.ask(iova, write=write, bdf=FUNCTIONS[domain])
        assert answer == self.expected(domain, region, index, write)
        self.bench.write(0x34, 1)

    def expected(self, domain: int, region: int, index: int, write: bool) -> int:
        page = region << 9 | index
        if (domain, page, write) in self.pages:
            return self.pages[domain, page, write]
        remembered = self.directories.setdefault((domain, region), self.named[domain, region])
        right = 2 if write else 1
        leaf = self.leaves.get((domain, region, remembered, index), 0)
        if not leaf & right:
            leaf = self.leaves.get((domain, region, self.named[domain, region], index), 0)
        if not leaf & right:
            return -5 if write else -6
        for each in (1, 2):
            if leaf & each:
                self.pages[domain, page, each == 2] = leaf & ~0xFFF
        return leaf & ~0xFFF

    @rule()
    def forget_everything(self) -> None:
        self.bench.write(IOTLB, 1 << 63 | 1 << 60, 8)
        self.pages.clear()
        self.directories.clear()

    @rule(domain=DOMAIN)
    def forget_domain(self, domain: int) -> None:
        self.bench.write(IOTLB, 1 << 63 | 2 << 60 | domain << 32, 8)
        self.pages = {key: host for key, host in self.pages.items() if key[0] != domain}
        self.directories = {key: which for key, which in self.directories.items() if key[0] != domain}

    @rule(domain=DOMAIN, region=REGION, index=INDEX, mask=st.integers(0, 10), hint=st.booleans())
    def forget_pages(self, domain: int, region: int, index: int, mask: int, hint: bool) -> None:
        page = region << 9 | index
        self.bench.write(IVA, page << 12 | hint << 6 | mask, 8)
        self.bench.write(IOTLB, 1 << 63 | 3 << 60 | domain << 32, 8)
        first = page >> mask << mask
        covered = range(first, first + (1 << mask))
        self.pages = {key: host for key, host in self.pages.items() if key[0] != domain or key[1] not in covered}
        if not hint:
            regions = {each >> 9 for each in (covered.start, covered.stop - 1)}
            for each in regions:
                self.directories.pop((domain, each), None)


TestStaleUntilInvalidated = StaleUntilInvalidated.TestCase
TestStaleUntilInvalidated.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
