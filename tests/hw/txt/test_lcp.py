from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.txt.conftest import Tool
from vafw.hw.txt import Policy, PolicyData, PolicyFormatError, PolicyType
from vafw.txt import lcp
from vafw.txt.lcp import ListKey, PolicyList
from vafw.txt.lcp_elements import MleElement, PconfElement, PcrInfo

ONE = hashlib.sha256(b"one VMM").digest()
TWO = hashlib.sha256(b"another VMM").digest()
POLICY, DATA = lcp.policy_for([ONE, TWO])
HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=4)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(HASHES)
def test_policy_and_data_survive_encoding(hashes: list[bytes]) -> None:
    policy, data = lcp.policy_for(hashes)
    assert len(policy.encode()) == 70
    assert Policy.decode(policy.encode()) == policy
    assert PolicyData.decode(data.encode()) == data


@given(HASHES, st.binary(min_size=32, max_size=32))
def test_a_list_allows_exactly_what_it_lists(hashes: list[bytes], mle: bytes) -> None:
    policy, data = lcp.policy_for(hashes)
    assert lcp.evaluate(policy.encode(), data.encode(), mle, 1).allowed == (mle in hashes)
    assert all(lcp.evaluate(policy.encode(), data.encode(), each, 1).allowed for each in hashes)


def test_a_policy_of_type_any_allows_any_mle_without_data() -> None:
    assert lcp.evaluate(Policy(PolicyType.ANY).encode(), b"", ONE, 1).allowed


def test_the_policy_hash_is_the_hash_over_the_hashes_of_the_lists() -> None:
    both = PolicyData((*DATA.lists, *lcp.policy_for([ONE])[1].lists))
    each = (hashlib.sha256(one.encode()).digest() for one in both.lists)
    assert both.policy_hash == hashlib.sha256(b"".join(each)).digest()


def test_an_mle_that_no_list_holds_is_refused_as_the_vmms_fault() -> None:
    strange = hashlib.sha256(b"a strange VMM").digest()
    assert lcp.evaluate(POLICY.encode(), DATA.encode(), strange, 1) == lcp.Evaluation(
        False,
        "vmm",
        "the VMM in memory is none that the launch control policy lists",
        f"{ONE.hex()}, {TWO.hex()}",
        strange.hex(),
    )


@given(st.integers(0, len(DATA.encode()) * 8 - 1))
def test_policy_data_with_any_bit_flipped_is_refused_as_the_policys_fault(bit: int) -> None:
    found = lcp.evaluate(POLICY.encode(), flipped(DATA.encode(), bit), ONE, 1)
    assert (found.allowed, found.component) == (False, "lcp")


@given(st.integers(0, 70 * 8 - 1), st.binary(min_size=32, max_size=32))
def test_no_flipped_bit_of_the_policy_lets_a_strange_vmm_in_but_the_one_that_says_any(bit: int, mle: bytes) -> None:
    found = lcp.evaluate(flipped(POLICY.encode(), bit), DATA.encode(), mle, 1)
    assert found.allowed == (bit == 4 * 8)


@given(st.binary(max_size=200))
def test_arbitrary_policy_data_is_refused(data: bytes) -> None:
    assert not lcp.evaluate(POLICY.encode(), data, ONE, 1).allowed


def test_a_sinit_older_than_the_policy_asks_for_is_refused() -> None:
    policy = Policy(PolicyType.LIST, DATA.policy_hash, sinit_minimum=3)
    assert lcp.evaluate(policy.encode(), DATA.encode(), ONE, 3).allowed
    assert lcp.evaluate(policy.encode(), DATA.encode(), ONE, 2) == lcp.Evaluation(
        False, "lcp", "the launch control policy asks for SINIT version 3", "3", "2"
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (b"", "a launch control policy must have 70 bytes, not 0"),
        (bytes(70), "a launch control policy's version must be 3.x, not 0x0000"),
        (b"\0\3\4\0" + bytes(66), "a launch control policy's hash must be SHA-256 (0x000b), not 0x0004"),
        (b"\0\3\x0b\0\2" + bytes(65), "a launch control policy's type must be 0 (LIST) or 1 (ANY), not 2"),
    ],
)
def test_a_malformed_policy_is_refused(policy: bytes, message: str) -> None:
    with pytest.raises(PolicyFormatError, match=f"^{re.escape(message)}$"):
        Policy.decode(policy)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 0, 'policy data must begin with "Intel(R) TXT LCP_POLICY_DATA" and zeros'),
        (35, 0, "policy data must hold 1 to 8 lists, not 0"),
        (35, 2, "a policy list must have 8 bytes of head at 0x7e"),
        (36, 0, "a policy list's version must be 2.1 (0x0201), not 0x0200"),
        (38, 0x18, "a policy list must be unsigned (0x0010) or signed by RSASSA (0x0014), not 0x0018"),
        (38, 0x14, "a policy list's signature must end within the data, not at 0x282"),
        (40, 0xFF, "a policy list's elements must end within the data, not at 0x12b"),
        (44, 0, "a policy element must end within its list, not have 0 bytes at 0x2c"),
        (48, 0x12, "a policy element's type must be MLE (0x10) or PCONF (0x11), not 0x12"),
        (58, 4, "an MLE element's hashes must be SHA-256 (0x000b), not 0x0004"),
        (60, 3, "an MLE element with 3 hashes must not have 70 bytes"),
    ],
)
def test_malformed_policy_data_is_refused(at: int, value: int, message: str) -> None:
    changed = bytearray(DATA.encode())
    changed[at] = value
    with pytest.raises(PolicyFormatError, match=f"^{re.escape(message)}$"):
        PolicyData.decode(bytes(changed))


OWNER = rsa.generate_private_key(65537, 2048)
OWNER_MODULUS = OWNER.public_key().public_numbers().n.to_bytes(256, "little")


def signed(hashes: list[bytes], counter: int = 3, key: rsa.RSAPrivateKey = OWNER) -> PolicyList:
    """A list that the key's holder signs."""
    modulus = key.public_key().public_numbers().n.to_bytes(256, "little")
    made = PolicyList((MleElement(tuple(hashes)),), ListKey(modulus, counter))
    return replace(made, signature=key.sign(made.signed_part(), PKCS1v15(), SHA256())[::-1])


SIGNED = PolicyData((signed([ONE]),))
SIGNED_POLICY = Policy(PolicyType.LIST, SIGNED.policy_hash, revocation_counters=(3, 0, 0, 0, 0, 0, 0, 0))


def test_a_signed_list_survives_encoding_and_stands_for_its_key() -> None:
    assert PolicyData.decode(SIGNED.encode()) == SIGNED
    assert SIGNED.policy_hash == hashlib.sha256(hashlib.sha256(OWNER_MODULUS).digest()).digest()
    assert lcp.evaluate(SIGNED_POLICY.encode(), SIGNED.encode(), ONE, 1).allowed
    assert not lcp.evaluate(SIGNED_POLICY.encode(), SIGNED.encode(), TWO, 1).allowed


def test_a_new_list_under_the_same_key_needs_no_new_policy() -> None:
    newer = PolicyData((signed([TWO], counter=4),))
    assert lcp.evaluate(SIGNED_POLICY.encode(), newer.encode(), TWO, 1).allowed


def test_an_old_list_whose_counter_is_below_the_policys_is_refused() -> None:
    older = PolicyData((signed([ONE], counter=2),))
    assert lcp.evaluate(SIGNED_POLICY.encode(), older.encode(), ONE, 1) == lcp.Evaluation(
        False, "lcp", "policy list 0 was revoked: its counter is below the policy's", "3", "2"
    )


def test_a_list_signed_by_somebody_else_is_refused() -> None:
    other = PolicyData((signed([ONE], key=rsa.generate_private_key(65537, 2048)),))
    found = lcp.evaluate(SIGNED_POLICY.encode(), other.encode(), ONE, 1)
    assert (found.component, found.expected) == ("lcp", SIGNED_POLICY.policy_hash.hex())


def test_a_signature_that_the_policy_does_not_allow_is_refused() -> None:
    policy = replace(SIGNED_POLICY, signature_mask=0)
    found = lcp.evaluate(policy.encode(), SIGNED.encode(), ONE, 1)
    assert found == lcp.Evaluation(False, "lcp", "the signature of policy list 0 does not hold")


@given(st.integers(0, len(SIGNED.encode()) * 8 - 1))
def test_a_signed_list_with_any_bit_flipped_is_refused_as_the_policys_fault(bit: int) -> None:
    found = lcp.evaluate(SIGNED_POLICY.encode(), flipped(SIGNED.encode(), bit), ONE, 1)
    assert (found.allowed, found.component) == (False, "lcp")


def test_a_list_signed_by_the_tboot_tools_is_accepted(tool: Tool, tmp_path: Path) -> None:
    secret = OWNER.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "priv").write_bytes(secret)
    public = OWNER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pub").write_bytes(public)
    (tmp_path / "one").write_text(ONE.hex(" ") + "\n")
    tool("lcp2_crtpolelt", "--create", "--type", "mle2", "--minver", "0", "--alg", "sha256", "--out", "e", "one")
    tool("lcp2_crtpollist", "--create", "--out", "l", "--listver", "0x201", "e")
    keys = ("--sigalg", "rsa", "--hashalg", "sha256", "--pub", "pub", "--priv", "priv", "--rev", "3")
    tool("lcp2_crtpollist", "--sign", *keys, "--out", "l")
    options = ("--alg", "sha256", "--type", "list", "--polver", "3.0", "--mask", "sha256", "--sign", "rsa-2048-sha256")
    tool("lcp2_crtpol", "--create", *options, "--pol", "p", "--data", "d", "l")
    assert (tmp_path / "d").read_bytes() == SIGNED.encode()
    assert lcp.evaluate((tmp_path / "p").read_bytes(), SIGNED.encode(), ONE, 1).allowed


def test_lcp2_crtpol_shows_our_policy_and_finds_that_the_data_belong_to_it(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "pol").write_bytes(POLICY.encode())
    (tmp_path / "dat").write_bytes(DATA.encode())
    shown = tool("lcp2_crtpol", "--show", "pol", "dat")
    assert "policy_type: list" in shown
    assert "hash_alg: 0xb (TPM_ALG_SHA256)" in shown
    assert "num_hashes: 2" in shown
    assert shown.rstrip().endswith("policy data hash matches policy hash")


def test_policy_and_data_made_by_the_tboot_tools_are_byte_for_byte_ours(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "one").write_text(ONE.hex(" ") + "\n")
    (tmp_path / "two").write_text(TWO.hex(" ") + "\n")
    tool("lcp2_crtpolelt", "--create", "--type", "mle2", "--minver", "0", "--alg", "sha256", "--out", "e", "one", "two")
    tool("lcp2_crtpollist", "--create", "--out", "l", "--listver", "0x201", "e")
    options = ("--alg", "sha256", "--type", "list", "--polver", "3.0", "--mask", "sha256", "--sign", "rsa-2048-sha256")
    tool("lcp2_crtpol", "--create", *options, "--pol", "p", "--data", "d", "l")
    assert (tmp_path / "d").read_bytes() == DATA.encode()
    assert Policy.decode((tmp_path / "p").read_bytes()).policy_hash == POLICY.policy_hash


STATIC = {pcr: hashlib.sha256(bytes([pcr])).digest() for pcr in range(8)}


def bound(*configurations: PcrInfo) -> tuple[bytes, bytes]:
    """Policy and policy data that accept ONE on these platform configurations."""
    data = PolicyData((PolicyList((MleElement((ONE,)), PconfElement(configurations))),))
    return Policy(PolicyType.LIST, data.policy_hash).encode(), data.encode()


@given(st.lists(st.sets(st.integers(0, 7), min_size=1), min_size=1, max_size=4), st.integers(0, 7))
def test_a_configuration_is_met_where_one_of_them_holds(selections: list[set[int]], changed: int) -> None:
    policy, data = bound(*(PcrInfo.of({pcr: STATIC[pcr] for pcr in each}) for each in selections))
    assert PolicyData.decode(data).encode() == data
    assert lcp.evaluate(policy, data, ONE, 1, STATIC).allowed
    after = lcp.evaluate(policy, data, ONE, 1, {**STATIC, changed: bytes(32)})
    assert after.allowed == any(changed not in each for each in selections)


def test_another_configuration_is_refused_as_the_policys_fault() -> None:
    wanted = PcrInfo.of({0: STATIC[0], 7: STATIC[7]})
    assert lcp.evaluate(*bound(wanted), ONE, 1, {**STATIC, 7: bytes(32)}) == lcp.Evaluation(
        False,
        "lcp",
        "PCR 0 to 7 are in no platform configuration that the launch control policy lists",
        wanted.pcr_digest.hex(),
    )


def test_a_configuration_of_registers_nobody_read_is_refused() -> None:
    assert not lcp.evaluate(*bound(PcrInfo.of({0: STATIC[0]})), ONE, 1).allowed


@given(st.binary(max_size=80))
def test_any_bytes_in_place_of_a_configuration_are_a_policy_format_error_refused(body: bytes) -> None:
    element = (12 + len(body)).to_bytes(4, "little") + b"\x11\0\0\0" + bytes(4) + body
    whole = b"\x01\x02\x10\0" + len(element).to_bytes(4, "little") + element
    file = b"Intel(R) TXT LCP_POLICY_DATA\0\0\0\0" + bytes(3) + b"\1" + whole
    with pytest.raises(PolicyFormatError):
        PolicyData.decode(file)


def test_an_element_of_another_type_is_refused() -> None:
    element = (12).to_bytes(4, "little") + b"\x12\0\0\0" + bytes(4)
    whole = b"\x01\x02\x10\0" + len(element).to_bytes(4, "little") + element
    with pytest.raises(PolicyFormatError) as refused:
        PolicyData.decode(b"Intel(R) TXT LCP_POLICY_DATA\0\0\0\0" + bytes(3) + b"\1" + whole)
    assert str(refused.value) == "a policy element's type must be MLE (0x10) or PCONF (0x11), not 0x12"


@pytest.mark.parametrize("pcrs", [(0,), (0, 1), (0, 1, 2, 3)])
def test_a_platform_configuration_made_by_the_tboot_tools_is_byte_for_byte_ours(
    tool: Tool, tmp_path: Path, pcrs: tuple[int, ...]
) -> None:
    values = [argument for pcr in pcrs for argument in (f"--pcr{pcr}", STATIC[pcr].hex())]
    tool("lcp2_crtpolelt", "--create", "--type", "pconf2", "--alg", "sha256", *values, "--out", "e")
    ours = PconfElement((PcrInfo.of({pcr: STATIC[pcr] for pcr in pcrs}),))
    assert (tmp_path / "e").read_bytes() == ours.encode()
