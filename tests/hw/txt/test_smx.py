"""The leaves of GETSEC that only answer, and what every leaf asks of the processor (S16)."""

from __future__ import annotations

import pytest

from tests.hw.txt.conftest import Rig
from vafw.hw.txt import smx
from vafw.hw.txt.platform import SmxProcessor
from vafw.hw.txt.sexit import sexit, smctrl, wakeup
from vafw.hw.txt.smx import Leaf, ParameterReport, SmxFault


def test_capabilities_name_the_chipset_and_the_leaves_that_are_supported() -> None:
    named = smx.capabilities(SmxProcessor(0))
    assert named & 1
    assert {leaf for leaf in Leaf if leaf and named >> leaf & 1} == smx.SUPPORTED - {Leaf.CAPABILITIES}


def test_capabilities_of_any_other_index_are_empty() -> None:
    assert smx.capabilities(SmxProcessor(0), 1) == 0


def test_parameters_end_with_the_null_type_and_fit_the_sinit_module(rig: Rig) -> None:
    reports = [smx.parameters(rig.platform.ilp, index) for index in range(6)]
    assert [each.eax & 0x1F for each in reports] == [1, 2, 3, 4, 5, 0]
    assert reports[5] == ParameterReport(0)
    assert reports[1].eax & ~0x1F >= len(rig.files.sinit)


@pytest.mark.parametrize("leaf", [Leaf.ENTERACCS, Leaf.EXITAC])
def test_a_leaf_that_the_processor_has_not_is_undefined_refused(leaf: Leaf) -> None:
    with pytest.raises(SmxFault) as refused:
        smx.require_decodable(SmxProcessor(0), leaf)
    reason = "the processor must support the leaf (GETSEC[CAPABILITIES])"
    assert str(refused.value) == f"GETSEC[{leaf.name}] raises #UD: {reason}"


def test_without_smx_every_leaf_is_undefined_before_anything_else_is_looked_at_refused(rig: Rig) -> None:
    rig.platform.ilp.smx_enabled = rig.platform.ilp.protected_mode = False
    calls = (
        lambda: smx.capabilities(rig.platform.ilp),
        lambda: smx.parameters(rig.platform.ilp, 0),
        lambda: wakeup(rig.platform, rig.platform.ilp),
        lambda: smctrl(rig.platform, rig.platform.ilp),
        lambda: sexit(rig.platform, rig.platform.ilp),
    )
    exceptions = []
    for call in calls:
        with pytest.raises(SmxFault, match=r"CR4\.SMXE must be set") as refused:
            call()
        exceptions.append(refused.value.exception)
    assert exceptions == ["#UD"] * 5
