"""Sealing, policy sessions and NV writing by policy: the modelled TPM and swtpm side by side (S14, S16)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.tpm.swtpm import Swtpm, needs_swtpm, running
from tests.hw.tpm.swtpm_objects import Sessions
from vafw.hw.tpm import EMPTY_POLICY, LCP_OWNER_INDEX, PolicySession, Tpm, TpmError, with_localities, with_pcrs
from vafw.hw.tpm.rc import ResponseCode
from vafw.tcg import SHA1, SHA256
from vafw.tcg.selection import PcrSelection

LAUNCH = PcrSelection.of({SHA256: (17, 18)})
ONE = {SHA256: b"\x11" * 32, SHA1: b"\x22" * 20}
SECRET = b"the key of the disk"


@pytest.fixture
def ours() -> Tpm:
    tpm = Tpm((SHA256, SHA1), lambda length: bytes(range(length)))
    tpm.startup()
    return tpm


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Swtpm]:
    with running(tmp_path) as swtpm:
        swtpm.startup()
        yield swtpm


def launch(tpm: Tpm | Swtpm) -> None:
    if isinstance(tpm, Tpm):
        tpm.hash_start()
        tpm.hash_data(b"SINIT")
        tpm.hash_end()
    else:
        tpm.hash_sequence(b"SINIT")


def policy_of_now(tpm: Tpm, localities: tuple[int, ...] = ()) -> PolicySession:
    session = PolicySession()
    tpm.policy_pcr(session, LAUNCH)
    if localities:
        session.show_localities(localities)
    return session


def code_of(tpm: Tpm, sealed_policy: bytes, session: PolicySession | None, locality: int) -> int:
    try:
        tpm.unseal(tpm.seal(SECRET, sealed_policy), session, locality)
    except TpmError as error:
        return error.rc
    return 0


@needs_swtpm
def test_policy_digests_are_swtpms(ours: Tpm, real: Swtpm) -> None:
    launch(ours)
    launch(real)
    sessions = Sessions(real)
    theirs = sessions.start()
    assert sessions.digest(theirs) == EMPTY_POLICY
    assert sessions.policy_pcr(theirs, LAUNCH) == 0
    session = policy_of_now(ours)
    assert session.policy == sessions.digest(theirs)
    assert sessions.policy_locality(theirs, 0b110) == 0
    session.show_localities((1, 2))
    assert session.policy == sessions.digest(theirs)


@needs_swtpm
@pytest.mark.parametrize("locality", range(5))
def test_a_secret_sealed_to_locality_2_and_the_launch_opens_alike(ours: Tpm, real: Swtpm, locality: int) -> None:
    launch(ours)
    launch(real)
    mine = policy_of_now(ours, (2,))
    sessions = Sessions(real)
    handle = sessions.seal(SECRET, mine.policy)
    theirs = sessions.start()
    sessions.policy_pcr(theirs, LAUNCH)
    sessions.policy_locality(theirs, 0b100)
    code, secret = sessions.unseal(handle, theirs, locality)
    assert code_of(ours, mine.policy, mine, locality) == code == (0 if locality == 2 else ResponseCode.LOCALITY)
    assert secret == (SECRET if locality == 2 else b"")


@needs_swtpm
def test_a_secret_stays_shut_without_a_session_after_a_change_and_for_another_launch_alike(
    ours: Tpm, real: Swtpm
) -> None:
    for tpm in (ours, real):
        launch(tpm)
    policy = policy_of_now(ours).policy
    sessions = Sessions(real)
    handle = sessions.seal(SECRET, policy)
    codes = [(code_of(ours, policy, None, 0), sessions.unseal(handle, None)[0])]
    mine, theirs = policy_of_now(ours), sessions.start()
    sessions.policy_pcr(theirs, LAUNCH)
    for tpm in (ours, real):
        tpm.extend(0, ONE, 0)
    codes.append((code_of(ours, policy, mine, 0), sessions.unseal(handle, theirs)[0]))
    for tpm in (ours, real):
        tpm.extend(17, ONE, 2)
    mine, theirs = policy_of_now(ours), sessions.start()
    real.at_locality(0)
    sessions.policy_pcr(theirs, LAUNCH)
    codes.append((code_of(ours, policy, mine, 0), sessions.unseal(handle, theirs)[0]))
    assert [mine for mine, _ in codes] == [theirs for _, theirs in codes]
    assert [mine for mine, _ in codes] == [
        ResponseCode.AUTH_UNAVAILABLE,
        ResponseCode.PCR_CHANGED,
        ResponseCode.POLICY_FAIL,
    ]


@needs_swtpm
def test_the_update_counter_moves_alike_for_every_pcr(ours: Tpm, real: Swtpm) -> None:
    moved = []
    for pcr in range(24):
        before = ours.update_counter, real.update_counter()
        ours.extend(pcr, ONE, 2)
        real.extend(pcr, ONE, 2)
        real.at_locality(0)
        moved.append((ours.update_counter - before[0], real.update_counter() - before[1]))
    assert [mine for mine, _ in moved] == [theirs for _, theirs in moved]


@needs_swtpm
def test_an_nv_index_is_written_by_its_policy_only_alike(ours: Tpm, real: Swtpm) -> None:
    launch(ours)
    launch(real)
    policy = policy_of_now(ours).policy
    ours.nv_define(LCP_OWNER_INDEX, 8, policy)
    sessions = Sessions(real)
    assert sessions.define(LCP_OWNER_INDEX, 8, policy) == 0
    with pytest.raises(TpmError) as refused:
        ours.nv_write(LCP_OWNER_INDEX, b"01234567")
    assert refused.value.rc == sessions.write(LCP_OWNER_INDEX, b"01234567", None) == ResponseCode.AUTH_UNAVAILABLE
    with pytest.raises(TpmError) as failed:
        ours.nv_write(LCP_OWNER_INDEX, b"01234567", session=PolicySession())
    assert failed.value.rc == sessions.write(LCP_OWNER_INDEX, b"01234567", sessions.start()) == ResponseCode.POLICY_FAIL
    theirs = sessions.start()
    sessions.policy_pcr(theirs, LAUNCH)
    ours.nv_write(LCP_OWNER_INDEX, b"01234567", session=policy_of_now(ours))
    assert sessions.write(LCP_OWNER_INDEX, b"01234567", theirs) == 0
    assert ours.nv_read(LCP_OWNER_INDEX) == b"01234567"


@needs_swtpm
def test_pcrs_that_are_not_what_the_caller_says_are_refused_alike(ours: Tpm, real: Swtpm) -> None:
    sessions = Sessions(real)
    with pytest.raises(TpmError) as refused:
        ours.policy_pcr(PolicySession(), LAUNCH, bytes(32))
    assert refused.value.rc == sessions.policy_pcr(sessions.start(), LAUNCH, bytes(32))


@needs_swtpm
def test_localities_that_exclude_each_other_are_refused_alike(real: Swtpm) -> None:
    sessions = Sessions(real)
    theirs, mine = sessions.start(), PolicySession()
    sessions.policy_locality(theirs, 0b100)
    mine.show_localities((2,))
    with pytest.raises(TpmError) as refused:
        mine.show_localities((1,))
    assert refused.value.rc == sessions.policy_locality(theirs, 0b010)


@given(st.integers(0, 8 * 47 - 1))
def test_sealed_data_with_any_bit_flipped_is_refused(bit: int) -> None:
    tpm = Tpm((SHA256,), lambda length: bytes(range(length)))
    tpm.startup()
    sealed = tpm.seal(SECRET)
    assert len(sealed.private) == 47
    changed = bytearray(sealed.private)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TpmError) as refused:
        tpm.unseal(replace(sealed, private=bytes(changed)))
    reason = "sealed data must be as this TPM made it, with the policy it was made with (TPM_RC 0x1df)"
    assert str(refused.value) == reason


def test_sealed_data_given_an_easier_policy_is_refused(ours: Tpm) -> None:
    sealed = ours.seal(SECRET, policy_of_now(ours).policy)
    with pytest.raises(TpmError, match="TPM_RC 0x1df"):
        ours.unseal(replace(sealed, policy=b""))


def test_sealed_data_of_another_tpm_is_refused(ours: Tpm) -> None:
    other = Tpm((SHA256, SHA1), lambda length: bytes(length - 1) + b"\1")
    other.startup()
    with pytest.raises(TpmError, match="TPM_RC 0x1df"):
        ours.unseal(other.seal(SECRET))


@pytest.mark.parametrize("size", [0, 129])
def test_a_secret_of_a_size_no_object_holds_is_refused(ours: Tpm, size: int) -> None:
    with pytest.raises(TpmError) as refused:
        ours.seal(bytes(size))
    assert str(refused.value) == f"sealed data must have 1 to 128 bytes, not {size} (TPM_RC 0x1d5)"


@given(st.sets(st.integers(0, 4), min_size=1))
def test_a_policy_depends_on_every_locality_and_register(localities: set[int]) -> None:
    plain = with_localities(EMPTY_POLICY, localities)
    assert plain != with_localities(EMPTY_POLICY, localities ^ {0} or {1})
    assert with_pcrs(plain, LAUNCH, bytes(32)) != with_pcrs(plain, PcrSelection.of({SHA256: (17,)}), bytes(32))
