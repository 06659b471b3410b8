from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from vafw.plan.checks.machine import memory_suffices, minimum_memory_is_given, vcpus_suffice
from vafw.plan.roster import roster

if TYPE_CHECKING:
    from tests.plan.conftest import Desk


@given(
    user=st.integers(1, 1 << 15),
    firewall=st.integers(1, 1 << 15),
    vmm=st.integers(1, 1 << 12),
    machine=st.integers(1, 1 << 16),
)
def test_memory_is_refused_exactly_when_the_shares_are_more_than_the_machine_has(
    desk: Desk, user: int, firewall: int, vmm: int, machine: int
) -> None:
    documents = desk(
        topology=[("memory: 1 GiB", f"memory: {user} MiB"), ("memory: 256 MiB", f"memory: {firewall} MiB")],
        machine=[("memory: 4 GiB\n", f"memory: {machine} MiB\nvmm-memory: {vmm} MiB\n")],
    )
    found = list(memory_suffices(documents))
    assert bool(found) == (user + firewall + 128 + vmm > machine > vmm)
    assert all(each.span.text == f"{max(user, firewall)} MiB" for each in found if max(user, firewall) > 128)


@given(user=st.integers(1, 256), firewall=st.integers(1, 256), machine=st.integers(1, 600))
def test_vcpus_are_refused_exactly_when_the_shares_are_more_than_the_machine_has(
    desk: Desk, user: int, firewall: int, machine: int
) -> None:
    documents = desk(
        topology=[("  vcpus: 2", f"  vcpus: {user}"), ("memory: 256 MiB,", f"vcpus: {firewall},")],
        machine=[("vcpus: 8", f"vcpus: {machine}")],
    )
    assert bool(list(vcpus_suffice(documents))) == (user + firewall + 1 > machine)


def test_every_share_of_memory_is_listed(desk: Desk) -> None:
    (found,) = memory_suffices(desk(topology=[("memory: 1 GiB", "memory: 5 GiB")]))
    assert found.notes == ("shares: firewall 256 MiB, dns 128 MiB, user-os 5 GiB, VMM 128 MiB",)
    assert found.hint == "save 1536 MiB somewhere"


def test_a_share_that_is_left_to_the_default_points_at_the_vm(desk: Desk) -> None:
    documents = desk(topology=[("use: firewall, memory: 256 MiB", "use: firewall")])
    assert roster(documents)[0].memory_bytes == 128 << 20
    assert list(minimum_memory_is_given(documents)) == []
