"""Random policies and random traffic: the kernel decides as the engine does, to the byte and to the rule.

`make differential` runs it with hundreds of policies; here is a taste. A difference that was found once stands below as
a case of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.traffic.differential import compare
from tests.traffic.kernel_router import KernelRouter, kernel_router, missing
from tests.traffic.random_policy import MARKER, policies
from tests.traffic.random_traffic import random_traffic
from vafw.traffic.nftables.rendering import Layout, nftables_text
from vafw.traffic.rule import Action, Ruleset

POLICIES: Final = int(os.environ.get("VAFW_DIFFERENTIAL_POLICIES", "40"))
PACKETS_EACH: Final = 60
INSIDE_NETWORKS = ("10.1.0.0/24", "2001:db8:1::/64")
pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


@pytest.fixture(scope="module")
def router() -> Iterator[KernelRouter]:
    nothing = nftables_text(Ruleset((MARKER,), Action.DROP), inside="in0", outside="out0")
    with kernel_router(nothing, inside=INSIDE_NETWORKS) as found:
        yield found


def test_random_policies_are_carried_out_as_the_kernel_carries_them_out(router: KernelRouter) -> None:
    compared: list[tuple[int, int, int]] = []

    @settings(
        max_examples=POLICIES, deadline=None, database=None, derandomize="VAFW_DIFFERENTIAL_POLICIES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(policies(), st.integers(0, 2**32), st.sampled_from(["flat", "maps"]))
    def decide_alike(ruleset: Ruleset, seed: int, layout: Layout) -> None:
        traffic = random_traffic(seed, conversations=8, packets=PACKETS_EACH)
        result = compare(router, ruleset, traffic, layout)
        assert result.found == []
        compared.append((result.packets, result.passed, result.translated))

    decide_alike()
    packets, passed, translated = (sum(each) for each in zip(*compared, strict=True))
    print(f"{len(compared)} policies, {packets} packets, {passed} passed, {translated} translated, 0 differences")
    assert packets >= POLICIES * PACKETS_EACH // 2
