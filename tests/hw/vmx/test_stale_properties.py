"""Random histories of tables, accesses and invalidations: what is served was true, and is true again afterwards.

Two promises at once. Fidelity: as long as software invalidates nothing, what was remembered is served, whatever the
tables say by now. Safety: after the right INVLPG, INVVPID, INVEPT or CR3 load, an access goes where a fresh walk goes.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vafw.address import Hpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx import InveptType, InvvpidType, LogicalProcessor
from vafw.hw.vmx.bits import CR4_VMXE, REVISION, VmcsField
from vafw.hw.vmx.ept import AccessKind, EptCapability
from vafw.hw.vmx.guest import GuestCpu
from vafw.hw.vmx.translation import TranslationCache
from vafw.hw.vmx.vmcs import blank_region

LINEAR, PAGES = 0x7F_8000_0000, 4
CR3, LEVEL1 = 0x1000, 0x4000
EPTP, EPT_LEVEL1 = 0x10_001E, 0x10_3000
VPID = 1
READ = AccessKind.READ


class Bench:
    """A guest whose pages and whose EPT pages are both mapped one by one."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(1 << 28)
        self.processor = LogicalProcessor(self.memory)
        self.processor.cr4 |= CR4_VMXE
        blank_region(self.memory, Hpa(0x20_0000), REVISION)
        assert self.processor.vmxon(Hpa(0x20_0000)) is None
        for table, shift, base in ((CR3, 39, 0), (CR3 + 0x1000, 30, 0), (CR3 + 0x2000, 21, 0)):
            self.memory.write_u64(Hpa(table + (LINEAR >> shift & 511) * 8 + base), table + 0x1000 | 0x27)
        for table in (0x10_0000, 0x10_1000, 0x10_2000):
            self.memory.write_u64(Hpa(table), table + 0x1000 | 7)
        for frame in range(32):
            self.map_ept(frame, frame)
        self.cpu = GuestCpu(self.memory, EptCapability())
        self.cpu.paging.efer = 0xD00
        translations: TranslationCache = self.processor.translations
        self.cpu.second.bind(EPTP, translations.tagged(EPTP), translations.structures(EPTP))
        fields: dict[int, int] = {
            VmcsField.GUEST_CR0: 0x8001_0021,
            VmcsField.GUEST_CR3: CR3,
            VmcsField.GUEST_CR4: 0x20A0,
        }
        self.cpu.bind(fields, self.processor.tlb, VPID, 0)

    def map(self, page: int, frame: int) -> None:
        self.memory.write_u64(Hpa(LEVEL1 + page * 8), frame << 12 | 0x27 if frame else 0)

    def map_ept(self, frame: int, host: int | None) -> None:
        self.memory.write_u64(Hpa(EPT_LEVEL1 + frame * 8), 0 if host is None else host << 12 | 0x37)

    def served(self, page: int) -> int | None:
        """The host frame that a load of the page reaches, None where it is refused."""
        found = self.cpu.translate(LINEAR + page * 0x1000, READ)
        return found >> 12 if isinstance(found, int) else None


FRAMES = st.integers(8, 15)
STEPS = st.one_of(
    st.tuples(st.just("access"), st.integers(0, PAGES - 1)),
    st.tuples(st.just("access"), st.integers(0, PAGES - 1)),
    st.tuples(st.just("map"), st.integers(0, PAGES - 1), st.one_of(st.just(0), FRAMES)),
    st.tuples(st.just("ept"), FRAMES, st.one_of(st.none(), st.integers(64, 90))),
    st.tuples(st.just("invlpg"), st.integers(0, PAGES - 1)),
    st.tuples(st.sampled_from(["cr3", "single", "retaining", "all", "invept", "invept all"])),
)


def invalidate(bench: Bench, name: str) -> None:
    processor = bench.processor
    match name:
        case "cr3":
            bench.cpu.paging.load_cr3(CR3)
        case "single":
            processor.invvpid(InvvpidType.SINGLE_CONTEXT, VPID)
        case "retaining":
            processor.invvpid(InvvpidType.SINGLE_CONTEXT_RETAINING_GLOBALS, VPID)
        case "all":
            processor.invvpid(InvvpidType.ALL_CONTEXT)
        case "invept":
            processor.invept(InveptType.SINGLE_CONTEXT, EPTP)
        case _:
            processor.invept(InveptType.ALL_CONTEXT)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_what_is_remembered_is_served_until_the_right_invalidation_and_then_the_tables_are(
    steps: list[tuple[object, ...]],
) -> None:
    bench = Bench()
    tables, second = dict.fromkeys(range(PAGES), 0), {frame: [frame] for frame in range(8, 16)}
    remembered: dict[int, int] = {}
    for step in steps:
        match step:
            case ("map", int(page), int(frame)):
                bench.map(page, frame)
                tables[page] = frame
            case ("ept", int(frame), int() | None as host):
                bench.map_ept(frame, host)
                second[frame].append(-1 if host is None else host)
            case ("invlpg", int(page)):
                bench.cpu.paging.invlpg(LINEAR + page * 0x1000)
                remembered.pop(page, None)
            case ("access", int(page)):
                found = bench.served(page)
                if page in remembered:
                    assert found == remembered[page]
                elif not tables[page]:
                    assert found is None
                else:
                    assert (-1 if found is None else found) in second[tables[page]]
                if found is not None:
                    remembered[page] = found
            case (str(name),):
                invalidate(bench, name)
                remembered.clear()
                if name.startswith("invept"):
                    second = {frame: hosts[-1:] for frame, hosts in second.items()}
