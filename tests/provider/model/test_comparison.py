"""One workload under five techniques: what must exit under which, and that all of them compute the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from vafw.document.load import load_document
from vafw.document.workload import Workload
from vafw.provider.model.comparison import TECHNIQUES, Outcome, compare
from vafw.provider.model.comparison.plot import svg

BT, PV, SHADOW, EPT, VPID = TECHNIQUES


def outcomes(steps: list[dict[str, int]], **more: Any) -> dict[str, Outcome]:
    told = {"vafw": 1, "kind": "workload", "name": "test", "steps": steps} | more
    return {each.technique: each for each in compare(Workload.model_validate(told))}


def exits(found: Mapping[str, Outcome], reason: str) -> list[int]:
    return [each.exits.get(reason, 0) for each in found.values()]


def test_an_instruction_that_always_exits_is_a_callout_a_hypercall_or_an_exit() -> None:
    found = outcomes([{"cpuid": 7}])
    assert found[BT].callouts["Cpuid"] == 7
    assert found[PV].exits["VMCALL CPUID"] == 7
    assert exits(found, "CPUID") == [0, 0, 7, 7, 7]


def test_only_shadow_tables_exit_on_invlpg_and_cr3_loads() -> None:
    found = outcomes([{"switch": 0}, {"remap": 5}], pages=8, rounds=3)
    assert exits(found, "INVLPG") == [0, 0, 15, 0, 0]
    assert exits(found, "CR3_LOAD") == [0, 0, 3, 0, 0]
    assert (found[BT].callouts["Invlpg"], found[BT].callouts["MoveToCr"]) == (15, 3)
    assert (found[PV].exits["VMCALL UPDATE"], found[PV].exits["VMCALL SWITCH"]) == (3, 3)


def test_a_guests_own_page_fault_exits_only_under_shadow_tables() -> None:
    found = outcomes([{"fault": 6}], pages=8)
    assert [each.guest_faults for each in found.values()] == [6] * 5
    assert [bool(count) for count in exits(found, "PAGE_FAULT")] == [True, False, True, False, False]


def test_masking_interrupts_exits_nowhere() -> None:
    without, with_masks = outcomes([{"cpuid": 1}]), outcomes([{"cpuid": 1}, {"mask": 50}])
    assert [without[each].exits_in_all for each in (PV, EPT, VPID)] == [
        with_masks[each].exits_in_all for each in (PV, EPT, VPID)
    ]
    assert with_masks[BT].callouts["Cli"] == 50


def test_every_interrupt_arrives_under_every_technique() -> None:
    found = outcomes([{"interrupt": 3}, {"idle": 2}], rounds=4)
    assert [each.interrupts for each in found.values()] == [20] * 5
    assert exits(found, "EXTERNAL_INTERRUPT") == [12] * 5


def test_vpid_saves_the_misses_that_exits_cost_and_no_exit() -> None:
    found = outcomes([{"read": 32}, {"cpuid": 1}], pages=32, rounds=10)
    with_vpid, without = found[VPID], found[EPT]
    assert with_vpid.exits == without.exits
    assert (with_vpid.count.tlb_misses, without.count.tlb_misses) == (32, 320)
    assert with_vpid.count.tlb_hits == without.count.tlb_hits + 288


def test_a_cold_nested_walk_is_24_references_and_a_shadow_walk_four() -> None:
    found = outcomes([{"read": 64}], pages=64, **{"ept-page": "4 KiB"})
    assert found[VPID].uncached_per_walk == 24.0
    assert 3.9 < found[SHADOW].references_per_walk <= 4.0
    assert outcomes([{"read": 64}], pages=64)[VPID].uncached_per_walk == 19.0


STEPS = st.one_of(
    st.tuples(st.sampled_from(["read", "write", "fault", "remap"]), st.integers(1, 6)),
    st.tuples(st.just("switch"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["port", "msr", "mask", "interrupt", "idle"]), st.integers(1, 3)),
)


@settings(deadline=None, max_examples=12)
@given(steps=st.lists(STEPS, min_size=1, max_size=12), processes=st.integers(1, 3), rounds=st.integers(1, 3))
def test_whatever_the_workload_every_technique_computes_the_same_and_ept_never_exits_for_memory(
    steps: list[tuple[str, int]], processes: int, rounds: int
) -> None:
    found = outcomes([dict([each]) for each in steps], processes=processes, rounds=rounds, pages=6)
    assert len({(each.checksum, each.guest_faults, each.interrupts) for each in found.values()}) == 1
    for technique in (EPT, VPID):
        assert not {"PAGE_FAULT", "INVLPG", "CR3_LOAD", "EPT_VIOLATION"} & set(found[technique].exits)
    assert found[VPID].count.tlb_misses <= found[EPT].count.tlb_misses


@pytest.mark.parametrize("file", sorted((ROOT / "policies" / "workloads").glob("*.yaml")), ids=lambda each: each.stem)
def test_a_shipped_workload_runs_and_is_drawn(file: Any) -> None:
    workload = load_document(file, Workload).model
    found = compare(workload)
    picture = svg(workload.name, found)
    assert picture.count('class="title"') == 3
    assert all(f"{each.exits_in_all:,}" in picture for each in found)


@pytest.mark.parametrize("name", ["packets", "fork-and-touch", "compute"])
def test_the_figures_of_the_documentation_are_what_is_counted(name: str) -> None:
    found = compare(load_document(ROOT / "policies" / "workloads" / f"{name}.yaml", Workload).model)
    cells = (f"{each.exits_in_all:,} / {each.count.tlb_misses:,}" for each in found)
    assert f"| {name} | {' | '.join(cells)} |" in (ROOT / "docs" / "model.md").read_text(encoding="utf-8").splitlines()
