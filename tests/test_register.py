from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.register import Access, Field, Layout, Register


class Sample(Register, width=32, initial=0x0000_0500):
    PLAIN = Field(3, 0, Access.RW)
    FIXED = Field(7, 4, Access.RO)
    EVENT = Field(8, 8, Access.RW1C)
    STICKY = Field(9, 9, Access.RW1CS)
    KEPT = Field(11, 10, Access.ROS)
    SHOT = Field(12, 12, Access.WO)
    ZERO = Field(15, 14, Access.RSVDZ)
    SAVED = Field(17, 16, Access.RSVDP)


WORD = st.integers(0, 0xFFFF_FFFF)


def test_a_field_is_itself_on_the_class_and_its_value_on_a_register() -> None:
    assert Field(7, 4, Access.RO) == Sample.FIXED
    assert Sample(0xA5).FIXED == 0xA


@given(WORD, WORD)
def test_software_changes_exactly_what_the_attributes_allow(before: int, written: int) -> None:
    register = Sample(before)
    register.sw_write(written)
    assert written & 0xF == register.PLAIN
    assert before >> 4 & 0xF == register.FIXED
    assert before >> 8 & ~(written >> 8) & 1 == register.EVENT
    assert before >> 9 & ~(written >> 9) & 1 == register.STICKY
    assert before >> 10 & 3 == register.KEPT
    assert written >> 12 & 1 == register.SHOT
    assert register.value & 0xFFFC_E000 == before & 0xFFFC_E000
    assert before >> 16 & 3 == register.SAVED


@given(WORD, WORD, WORD)
def test_a_write_touches_no_byte_lane_that_it_does_not_select(before: int, written: int, lanes: int) -> None:
    register = Sample(before)
    register.sw_write(written, lanes)
    assert register.value & ~lanes == before & ~lanes


@given(WORD)
def test_write_only_and_reserved_fields_read_as_zero(word: int) -> None:
    assert Sample(word).sw_read() == word & 0x0003_0FFF


@given(WORD, st.integers(0, 3))
def test_hardware_sets_what_software_may_not(before: int, value: int) -> None:
    register = Sample(before)
    register.hw_set(KEPT=value, FIXED=9)
    assert (value, 9) == (register.KEPT, register.FIXED)
    assert register.value & ~0xCF0 == before & ~0xCF0


def test_a_warm_reset_keeps_sticky_fields_and_a_power_cycle_does_not() -> None:
    register = Sample(0xFFFF_FFFF)
    register.reset()
    assert repr(register) == "Sample(0xf00: EVENT STICKY KEPT=0x3)"
    register.reset(power=True)
    assert register.value == Sample.initial


def test_repr_names_the_fields_that_are_not_zero() -> None:
    assert repr(Sample(0x0000_0123)) == "Sample(0x123: PLAIN=0x3 FIXED=0x2 EVENT)"
    assert repr(Sample(0)) == "Sample(0x0: -)"


@given(st.integers(0, 15), st.integers(0, 3))
def test_packed_fields_come_out_again(plain: int, kept: int) -> None:
    word = Sample.pack(PLAIN=plain, KEPT=kept)
    assert (Sample.PLAIN.get(word), Sample.KEPT.get(word)) == (plain, kept)


def test_overlapping_fields_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^Overlap\.B must start at bit 4 or above, not at 3$"):
        type("Overlap", (Layout,), {"A": Field(3, 0), "B": Field(7, 3)})


def test_a_field_beyond_the_word_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^Wide\.A must end within 64 bits, not at 64$"):
        type("Wide", (Layout,), {"A": Field(64, 60)})


def test_bits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^a field must have msb >= lsb >= 0, not \[3:4\]$"):
        Field(3, 4)


def test_a_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^field \[3:0\] cannot hold 0x10$"):
        Sample.pack(PLAIN=16)


def test_an_unknown_field_is_refused() -> None:
    names = "PLAIN, FIXED, EVENT, STICKY, KEPT, SHOT, ZERO, SAVED"
    with pytest.raises(TypeError, match=rf"^Sample has the fields {names}, not 'NONE'$"):
        Sample().hw_set(NONE=1)


def test_assigning_a_field_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"^a field must be set with sw_write or hw_set$"):
        Sample().PLAIN = 1
