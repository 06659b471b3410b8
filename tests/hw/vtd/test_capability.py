"""CAP and ECAP: what the modelled unit says, and what the registers of other units mean for their tables."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import PAGE, TABLES, Bench
from vafw.hw.vtd import TableRules, UnitCapability
from vafw.hw.vtd.registers import Capability, ExtendedCapability


def rules(cap: int, ecap: int) -> TableRules:
    return TableRules.of(Capability(cap), ExtendedCapability(ecap), host_address_bits=46)


def test_the_registers_of_qemus_unit_say_what_it_takes() -> None:
    found = rules(0xD2_008C_222F_0686, 0xF0_0F4A)
    assert found == TableRules(
        levels=frozenset({3, 4}),
        guest_address_bits=48,
        host_address_bits=46,
        large_page_levels=frozenset({2, 3}),
        pass_through=True,
        device_tlb=False,
        snoop_control=False,
        extended_interrupts=False,
        posted_interrupts=False,
    )
    assert rules(0xD2_008C_222F_0686, 0xF0_0F4E).device_tlb


def test_a_units_registers_say_what_it_was_made_with() -> None:
    capability = UnitCapability(guest_address_bits=57, device_tlb=True, snoop_control=True, posted_interrupts=True)
    assert capability.rules == TableRules(
        levels=frozenset({3, 4, 5}),
        guest_address_bits=57,
        host_address_bits=46,
        large_page_levels=frozenset({2, 3}),
        pass_through=True,
        device_tlb=True,
        snoop_control=True,
        extended_interrupts=True,
        posted_interrupts=True,
    )


@pytest.mark.parametrize(("snoop_control", "answer"), [(True, PAGE), (False, -0xC)])
def test_snoop_is_a_bit_of_leaves_in_a_unit_that_controls_it(snoop_control: bool, answer: int) -> None:
    bench = Bench(UnitCapability(snoop_control=snoop_control))
    bench.attach()
    bench.path(0, PAGE | 3 | 1 << 11)
    bench.start()
    assert bench.ask(0) == answer
    bench.set(TABLES, TABLES + 0x1000 | 3 | 1 << 11)
    assert bench.ask(0x1000) == -0xC


def test_an_address_beyond_the_hosts_is_reserved_in_every_entry() -> None:
    bench = Bench(UnitCapability(host_address_bits=39))
    bench.attach()
    bench.path(0, PAGE | 3 | 1 << 39)
    bench.start()
    assert bench.ask(0) == -0xC
    bench.context(TABLES | 1 | 1 << 39, 5 << 8 | 2)
    bench.forget()
    assert bench.ask(0) == -0xB
    bench.set(0x1000 + 2 * 16, 0x2001 | 1 << 39)
    bench.forget()
    assert bench.ask(0) == -0xA
