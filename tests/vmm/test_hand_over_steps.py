"""What a device can do between any two steps of a hand-over, tried in every order; and hand-overs that fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.conftest import ROOT
from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pci import RootComplex
from vafw.hw.vtd import DmaFault, Interrupt, RemappingUnit, UnitCapability
from vafw.hw.vtd.ats import DeviceTlb
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.hand_over import TRANSITIONS, WAY_BACK, HandOver, HandOverFailed, Phase, Step
from vafw.vmm.refusal import VmmError
from vafw.vmm.remapping import MappingRefused, RemappingDriver

UNIT = Hpa(0xFED9_0000)
NIC, PHANTOM, OTHER = Bdf(2, 0, 0), Bdf(2, 0, 4), Bdf(3, 0, 0)
MEMORY = {"a": Hpa(0x1000_0000), "b": Hpa(0x2000_0000)}
SIZE = 2 << 20


class Port:
    """A function with a bus master bit that its requests obey, as far as they are not on their way already."""

    def __init__(self) -> None:
        self.silent = True
        self.resets = 0
        self.broken = False

    def silence(self) -> None:
        self.silent = True

    def reset(self) -> bool:
        self.resets += not self.broken
        return not self.broken


class Tlb:
    """A device's TLB, which may stop answering."""

    def __init__(self, source: Bdf, unit: RemappingUnit) -> None:
        self.inside = DeviceTlb(source, unit)
        self.answers = True

    def invalidate(self, iova: Iova, size: int) -> bool:
        return self.answers and self.inside.invalidate(iova, size)


@dataclass
class Rig:
    """Two owners, one function with a phantom, and the memory of each owner marked with its name."""

    memory: PhysicalMemory
    unit: RemappingUnit
    bus: RootComplex
    driver: RemappingDriver
    port: Port
    tlb: Tlb
    hand_over: HandOver
    domains: dict[str, int]

    def reached(self, source: Bdf = NIC) -> str | None:
        """Whose memory a read of the function that is on its way already ends up in."""
        answer = self.bus.dma_read(source, Iova(0x1000), 1)
        return None if isinstance(answer, DmaFault) else answer.decode()


def build(*, device_tlb: bool = False) -> Rig:
    memory = PhysicalMemory(1 << 30)
    unit = RemappingUnit(memory, UnitCapability(device_tlb=True))
    memory.map_window(UNIT, PAGE_SIZE, unit)
    driver = RemappingDriver(memory, FrameAllocator(Hpa(0x10_0000), 512 * PAGE_SIZE), UNIT)
    driver.enable()
    domains = {}
    for name, hpa in MEMORY.items():
        memory.write(Hpa(hpa + 0x1000), name.encode())
        domains[name] = driver.create_domain()
        driver.map(domains[name], Iova(0), hpa, SIZE)
    port, tlb = Port(), Tlb(NIC, unit)
    unit.connect_device_tlb(NIC, tlb)
    hand_over = HandOver(NIC, port, driver, aliases=(PHANTOM,))
    rig = Rig(memory, unit, RootComplex(memory, unit), driver, port, tlb, hand_over, domains)
    hand_over.attach(domains["a"], device_tlb=device_tlb)
    return rig


def read(rig: Rig) -> None:
    rig.reached()


def read_as_phantom(rig: Rig) -> None:
    rig.reached(PHANTOM)


def write(rig: Rig) -> None:
    rig.bus.dma_write(NIC, Iova(0x1000), b"a")


def ask_for_a_translation(rig: Rig) -> None:
    rig.tlb.inside.find(Iova(0x1000), write=True)


ACTIONS: list[Callable[[Rig], None]] = [read, read_as_phantom, write, ask_for_a_translation]
STALE_ALLOWED = (Phase.ASSIGNED, Phase.SILENT, Phase.CUT_OFF)


@pytest.mark.parametrize("device_tlb", [False, True])
@pytest.mark.parametrize(
    "actions", list(product(ACTIONS, repeat=2)), ids=lambda pair: "-".join(a.__name__ for a in pair)
)
def test_whatever_a_device_does_between_two_steps_it_reaches_its_last_owner_or_nobody(
    device_tlb: bool, actions: tuple[Callable[[Rig], None], ...]
) -> None:
    for when in product(range(len(WAY_BACK) + 1), repeat=len(actions)):
        rig = build(device_tlb=device_tlb)
        for number in range(len(WAY_BACK) + 1):
            for at, action in zip(when, actions, strict=True):
                if at == number:
                    action(rig)
            for source in (NIC, PHANTOM):
                owners = {"a", None} if rig.hand_over.phase in STALE_ALLOWED else {None}
                assert rig.reached(source) in owners
            if rig.hand_over.phase is not Phase.QUARANTINE:
                rig.hand_over.advance()
        rig.hand_over.attach(rig.domains["b"], device_tlb=device_tlb)
        assert {rig.reached(NIC), rig.reached(PHANTOM)} == {"b"}
        assert rig.tlb.inside.find(Iova(0x1000), write=False) in (MEMORY["b"] + 0x1000, None) or not device_tlb


def test_a_stale_translation_serves_a_function_until_it_is_forgotten() -> None:
    rig = build()
    assert rig.reached() == "a"
    rig.hand_over.advance()
    rig.hand_over.advance()
    assert (rig.hand_over.phase, rig.reached()) == (Phase.CUT_OFF, "a")
    rig.hand_over.advance()
    assert (rig.hand_over.phase, rig.reached()) == (Phase.FORGOTTEN, None)


def test_a_function_is_reset_before_each_owner() -> None:
    rig = build()
    assert rig.port.resets == 1
    rig.hand_over.release()
    assert rig.port.resets == 2
    rig.hand_over.attach(rig.domains["b"])
    assert rig.port.resets == 3


def test_a_device_that_does_not_answer_leaves_the_function_failed_and_its_domain_in_use() -> None:
    rig = build(device_tlb=True)
    rig.tlb.answers = False
    message = (
        r"^function 02:00\.0 must change hands completely or not at all, and is nobody's now: "
        r"function 02:00\.0 must empty its TLB when it is told to, but did not answer$"
    )
    with pytest.raises(HandOverFailed, match=message):
        rig.hand_over.release()
    assert (rig.hand_over.phase, rig.reached()) == (Phase.FAILED, None)
    with pytest.raises(MappingRefused, match=r"^domain 1 must have no functions when it ends, but has 02:00\.0$"):
        rig.driver.destroy_domain(rig.domains["a"])
    with pytest.raises(
        VmmError, match=r"^function 02:00\.0 is failed, from where the step must be recover, not attach$"
    ):
        rig.hand_over.attach(rig.domains["b"])
    with pytest.raises(HandOverFailed, match=r"^function 02:00\.0 must be recovered before anybody has it"):
        rig.hand_over.release()


def test_another_function_does_not_suffer_for_one_that_does_not_answer() -> None:
    rig = build(device_tlb=True)
    rig.tlb.answers = False
    with pytest.raises(HandOverFailed):
        rig.hand_over.release()
    rig.driver.attach(OTHER, rig.domains["b"])
    assert rig.reached(OTHER) == "b"


def test_a_failed_function_comes_back_when_everything_was_forgotten_and_it_was_reset() -> None:
    rig = build(device_tlb=True)
    rig.tlb.answers = False
    with pytest.raises(HandOverFailed):
        rig.hand_over.release()
    with pytest.raises(HandOverFailed):
        rig.hand_over.recover()
    rig.tlb.answers = True
    rig.hand_over.recover()
    assert rig.hand_over.phase is Phase.QUARANTINE
    rig.driver.destroy_domain(rig.domains["a"])
    rig.hand_over.attach(rig.domains["b"])
    assert rig.reached() == "b"


def test_a_function_that_does_not_reset_is_given_to_nobody() -> None:
    rig = build()
    rig.port.broken = True
    with pytest.raises(HandOverFailed, match=r"it is not as after a function-level reset$"):
        rig.hand_over.release()
    assert rig.hand_over.phase is Phase.FAILED


def test_a_lost_flush_of_an_attachment_attaches_nobody() -> None:
    rig = build()
    rig.hand_over.release()
    rig.memory.write_u64(Hpa(UNIT + 0x90), 1 << 40)
    with pytest.raises(HandOverFailed):
        rig.hand_over.attach(rig.domains["b"])
    assert (rig.hand_over.phase, rig.reached(), rig.reached(PHANTOM)) == (Phase.FAILED, None, None)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("step", [Step.ATTACH, Step.RESET, Step.RECOVER])
def test_every_step_is_legal_where_the_table_says_so_and_refused_elsewhere(phase: Phase, step: Step) -> None:
    rig = build()
    rig.hand_over.release()
    rig.hand_over.phase = phase
    does = {Step.ATTACH: lambda: rig.hand_over.attach(rig.domains["b"]), Step.RESET: rig.hand_over.reset}
    call = does.get(step, rig.hand_over.recover)
    refused = False
    try:
        call()
    except VmmError as error:
        refused = f"function {NIC} is {phase}, from where the step must be " in error.message
    assert refused is ((phase, step) not in TRANSITIONS)


def test_functions_behind_one_bridge_share_its_requester_id_within_a_domain_only() -> None:
    rig = build()
    bridge = Bdf(5, 0, 0)
    rig.driver.attach(Bdf(5, 1, 0), rig.domains["b"], aliases=(bridge,))
    rig.driver.attach(Bdf(5, 2, 0), rig.domains["b"], aliases=(bridge,))
    with pytest.raises(MappingRefused, match=r"^function 05:00\.0 must be detached from domain 2"):
        rig.driver.attach(Bdf(5, 3, 0), rig.domains["a"], aliases=(bridge,))
    rig.driver.detach(Bdf(5, 1, 0))
    assert rig.reached(bridge) == "b"
    rig.driver.detach(Bdf(5, 2, 0))
    assert rig.reached(bridge) is None


def test_firmwares_region_stays_mapped() -> None:
    rig = build()
    rig.driver.map_reserved(rig.domains["a"], Hpa(0x3000_0000), 4096)
    message = r"^device addresses 0x30000000 to 0x30000fff of domain 1 must stay mapped: firmware needs them \(RMRR\)$"
    with pytest.raises(MappingRefused, match=message):
        rig.driver.unmap(rig.domains["a"], Iova(0x3000_0000), 4096)
    assert not isinstance(rig.bus.dma_read(NIC, Iova(0x3000_0000), 4), DmaFault)


def test_ats_is_granted_only_by_a_unit_that_has_it() -> None:
    memory = PhysicalMemory(1 << 30)
    memory.map_window(UNIT, PAGE_SIZE, RemappingUnit(memory))
    driver = RemappingDriver(memory, FrameAllocator(Hpa(0x10_0000), 64 * PAGE_SIZE), UNIT)
    driver.enable()
    message = r"^function 02:00\.0 must not use a device TLB on a unit that has none \(ECAP\.DT\)$"
    with pytest.raises(MappingRefused, match=message):
        driver.attach(NIC, driver.create_domain(), device_tlb=True)


def test_unmapping_reaches_into_device_tlbs() -> None:
    rig = build(device_tlb=True)
    assert rig.tlb.inside.find(Iova(0x1000), write=True) == MEMORY["a"] + 0x1000
    rig.driver.unmap(rig.domains["a"], Iova(0), SIZE)
    assert rig.tlb.inside.find(Iova(0x1000), write=True) is None


class HandOverMachine(RuleBasedStateMachine):
    """Two functions, two owners and their pages, changing hands in any order while devices do what they like."""

    functions = st.sampled_from([NIC, OTHER])
    owners = st.sampled_from(["a", "b"])

    def __init__(self) -> None:
        super().__init__()
        self.rig = build()
        self.rig.hand_over.release()
        other = Tlb(OTHER, self.rig.unit)
        self.rig.unit.connect_device_tlb(OTHER, other)
        self.tlbs = {NIC: self.rig.tlb, OTHER: other}
        self.ports = {NIC: self.rig.port, OTHER: Port()}
        self.hand_overs = {
            NIC: self.rig.hand_over,
            OTHER: HandOver(OTHER, self.ports[OTHER], self.rig.driver),
        }
        self.owner: dict[Bdf, str] = {}
        """The last owner, for as long as something of it may be remembered."""
        self.mapped = {"a": True, "b": True}
        self.answering = True

    @precondition(lambda self: self.answering)
    @rule(function=functions, owner=owners, device_tlb=st.booleans())
    def attach(self, function: Bdf, owner: str, device_tlb: bool) -> None:
        hand_over = self.hand_overs[function]
        if hand_over.phase is Phase.QUARANTINE:
            hand_over.attach(self.rig.domains[owner], device_tlb=device_tlb)
            self.owner[function] = owner

    @rule(function=functions, steps=st.integers(1, 4))
    def go_back(self, function: Bdf, steps: int) -> None:
        hand_over = self.hand_overs[function]
        for _ in range(steps):
            if hand_over.phase in (Phase.QUARANTINE, Phase.FAILED):
                break
            try:
                hand_over.advance()
            except HandOverFailed:
                assert not self.answering
        if hand_over.phase in (Phase.QUARANTINE, Phase.FORGOTTEN):
            self.owner.pop(function, None)

    @rule(answering=st.booleans())
    def devices_answer_or_not(self, answering: bool) -> None:
        self.answering = answering
        for each in self.tlbs.values():
            each.answers = answering

    @precondition(lambda self: self.answering)
    @rule(function=functions)
    def recover(self, function: Bdf) -> None:
        if self.hand_overs[function].phase is Phase.FAILED:
            self.hand_overs[function].recover()
            self.owner.pop(function, None)

    @rule(function=functions, write=st.booleans())
    def request(self, function: Bdf, write: bool) -> None:
        self.rig.bus.dma_read(function, Iova(0x1000), 1)
        self.tlbs[function].inside.find(Iova(0x1000), write=write)

    @precondition(lambda self: self.answering and not self.failed())
    @rule(owner=owners)
    def take_memory_back_or_give_it(self, owner: str) -> None:
        driver, domain = self.rig.driver, self.rig.domains[owner]
        if self.mapped[owner]:
            driver.unmap(domain, Iova(0), SIZE)
        else:
            driver.map(domain, Iova(0), MEMORY[owner], SIZE)
        self.mapped[owner] = not self.mapped[owner]

    @invariant()
    def a_function_reaches_its_owners_mapped_memory_or_nothing(self) -> None:
        for function in (NIC, OTHER):
            owner = self.owner.get(function)
            reached = self.rig.reached(function)
            assert reached is None or (reached == owner and self.mapped[owner])
            held = self.tlbs[function].inside.find(Iova(0x1000), write=False)
            if isinstance(held, int):
                assert owner is not None
                assert held == MEMORY[owner] + 0x1000

    @invariant()
    def an_assigned_function_reaches_all_it_may(self) -> None:
        for function, hand_over in self.hand_overs.items():
            if hand_over.phase is Phase.ASSIGNED and self.mapped[self.owner[function]]:
                assert self.rig.reached(function) == self.owner[function]

    @invariant()
    def a_domain_with_a_function_on_its_way_is_not_ended(self) -> None:
        for function, hand_over in self.hand_overs.items():
            if hand_over.phase in (Phase.ASSIGNED, Phase.SILENT, Phase.CUT_OFF):
                with pytest.raises(MappingRefused):
                    self.rig.driver.destroy_domain(self.rig.domains[self.owner[function]])

    def failed(self) -> bool:
        return any(each.phase is Phase.FAILED for each in self.hand_overs.values())


TestHandOverMachine = HandOverMachine.TestCase
TestHandOverMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_an_interrupt_goes_with_its_function() -> None:
    rig = build()
    address, data = rig.driver.map_interrupt(NIC, 0x41, 0)
    assert isinstance(rig.unit.remap(NIC, address, data), Interrupt)
    rig.hand_over.release()
    assert not isinstance(rig.unit.remap(NIC, address, data), Interrupt)


def test_every_test_that_the_documentation_names_for_an_invariant_exists() -> None:
    page = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
    table = page[page.index("| bulletin |") : page.index("## Tables of a real machine")]
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "vmm").glob("test_*.py"))
    named = re.findall(r"`([Tt]est\w+)`", table)
    assert len(named) >= 10
    assert [name for name in named if f"def {name}(" not in tests and f"{name} = " not in tests] == []
