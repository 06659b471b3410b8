from __future__ import annotations

import hashlib

import pytest

from vafw.tcg import SHA1, SHA256, EventType, event_name
from vafw.tcg.algorithms import SM3_256, algorithm_name, computable, digest, hash_sequence_value
from vafw.tcg.events import Replay, replay_of
from vafw.tcg.public import ENDORSEMENT_HIERARCHY, attestation_key_area, name_of, qualified_name


def test_txt_events_are_numbered_from_0x400() -> None:
    assert (EventType.TXT_HASH_START, EventType.TXT_MLE_HASH, EventType.TXT_CAP_VALUE) == (0x402, 0x404, 0x4FF)


@pytest.mark.parametrize(("number", "name"), [(0x404, "MLE_HASH"), (0xD, "EV_IPL"), (0x4AA, "0x4aa")])
def test_names_leave_the_family_out_and_unknown_types_are_numbers(number: int, name: str) -> None:
    assert event_name(number) == name


def test_only_hash_start_loads_and_only_marks_do_nothing() -> None:
    assert {each for each in range(0x600) if replay_of(each) is Replay.LOADS} == {0x402}
    assert {each for each in range(0x600) if replay_of(each) is Replay.NOTHING} == {0x3, 0x401, 0x503, 0x504}


def test_the_hash_sequence_value_is_the_one_that_swtpm_gives() -> None:
    data = b"SINIT-AND-MLE"
    assert hash_sequence_value(SHA1, data).hex() == "2e781eedcc9c46564b982c01232ca3256f358d84"


def test_digest_takes_its_parts_in_order() -> None:
    assert digest(SHA256, b"a", b"b") == hashlib.sha256(b"ab").digest()


def test_an_algorithm_that_cannot_be_computed_is_refused() -> None:
    assert not computable(SM3_256)
    with pytest.raises(ValueError, match=r"^the hash algorithm must be one of \[4, 11, 12, 13\], not 0x12$"):
        digest(SM3_256, b"")


def test_unknown_algorithms_are_named_by_number() -> None:
    assert (algorithm_name(SM3_256), algorithm_name(0x99)) == ("SM3-256", "algorithm 0x0099")


def test_a_qualified_name_depends_on_key_and_hierarchy() -> None:
    name = name_of(attestation_key_area(1, 2))
    assert len(name) == 34
    assert qualified_name(ENDORSEMENT_HIERARCHY, name) != qualified_name(0x40000001, name)
    assert name != name_of(attestation_key_area(1, 3))
