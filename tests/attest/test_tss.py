"""A TPM that nobody here wrote, through the TSS: enrolled by its keys, its certificate, and what it can open."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed (needs Debian's libtss2-dev)")
pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed (Debian package swtpm)")

from tests.attest.swtpm_server import manufactured, serving  # noqa: E402
from vafw.attest.enrolment import EnrolmentRefused, Enrolments, Registrar  # noqa: E402
from vafw.attest.ledger import Ledger  # noqa: E402
from vafw.attest.tss import TssTpm, open_device, open_swtpm  # noqa: E402
from vafw.clock import SystemClock  # noqa: E402
from vafw.errors import PlatformUnable  # noqa: E402
from vafw.tcg import SHA1, SHA256, PcrSelection, QuoteAttest  # noqa: E402
from vafw.tcg.credential import Credential, make_credential  # noqa: E402
from vafw.tcg.public import PublicArea, name_of  # noqa: E402


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TssTpm]:
    """Without a certificate."""
    with serving(tmp_path_factory.mktemp("plain")) as path:
        yield open_swtpm(f"path={path}")


def registrar(*authorities: x509.Certificate) -> Registrar:
    clock = SystemClock()
    return Registrar(Enrolments(Ledger(None, clock)), clock, secrets.token_bytes, authorities)


def test_a_tpm_without_a_certificate_is_enrolled_by_whoever_asks(tpm: TssTpm) -> None:
    identity = registrar().enrol("lab", tpm)
    assert (identity.ak.area, identity.certified) == (tpm.offer().ak, False)


def test_its_quotes_are_of_the_key_that_was_enrolled_under_the_endorsement_hierarchy(tpm: TssTpm) -> None:
    identity = registrar().enrol("lab", tpm)
    attest, signature = tpm.quote(b"nonce", PcrSelection.of({SHA256: (17, 18)}))
    identity.ak.verify(attest, signature)
    quote = QuoteAttest.decode(attest)
    assert quote.qualified_signer == identity.ak.qualified_name
    counts = tpm.boot_counts()
    assert (quote.clock_info.reset_count, quote.clock_info.restart_count) == (counts.resets, counts.restarts)


def test_more_registers_than_one_answer_holds_are_read_all_the_same(tpm: TssTpm) -> None:
    everything = tuple(range(24))
    values = tpm.read(PcrSelection.of({SHA256: everything, SHA1: everything}))
    assert [len(bank) for bank in values.values()] == [24, 24]
    assert (values[SHA256][16], values[SHA1][17]) == (bytes(32), b"\xff" * 20)


def test_a_credential_for_another_key_is_not_opened_refused(tpm: TssTpm) -> None:
    offer = tpm.offer()
    credential = make_credential(PublicArea.decode(offer.ek), name_of(b"another key"), bytes(32), secrets.token_bytes)
    with pytest.raises(PlatformUnable, match=r"^the TPM does not open the credential: "):
        tpm.activate(credential)
    assert registrar().enrol("lab", tpm)  # and nothing is left behind that keeps it from its own


@pytest.mark.skipif(shutil.which("swtpm_localca") is None, reason="swtpm-tools is not installed")
def test_a_certificate_of_swtpms_own_authority_vouches_for_an_rsa_endorsement_key(tmp_path: Path) -> None:
    state, authority = manufactured(tmp_path)
    with serving(state) as path:
        tpm = open_swtpm(f"path={path}")
        offer = tpm.offer()
        assert isinstance(PublicArea.decode(offer.ek).key, RSAPublicKey)
        assert registrar(authority).enrol("lab", tpm).certified
        stranger = x509.load_der_x509_certificate(offer.ek_certificate)
        with pytest.raises(EnrolmentRefused, match=r"was issued by nobody that is trusted, but by CN=swtpm-localca$"):
            registrar(stranger).enrol("lab", tpm)


def test_tpm2_makecredential_and_ours_are_opened_by_the_same_tpm(tpm: TssTpm, tmp_path: Path) -> None:
    if shutil.which("tpm2_makecredential") is None:
        pytest.skip("tpm2_makecredential is not installed (Debian package tpm2-tools)")
    offer = tpm.offer()
    (tmp_path / "ek.pub").write_bytes(len(offer.ek).to_bytes(2, "big") + offer.ek)
    (tmp_path / "secret").write_bytes(b"the secret")
    subprocess.run(
        ["tpm2_makecredential", "-T", "none", "-u", tmp_path / "ek.pub", "-s", tmp_path / "secret",
         "-n", name_of(offer.ak).hex(), "-o", tmp_path / "credential"],
        check=True,
    )  # fmt: skip
    theirs = (tmp_path / "credential").read_bytes()[8:]  # magic and version before two TPM2B
    size = int.from_bytes(theirs[:2], "big")
    assert tpm.activate(Credential(theirs[2 : 2 + size], theirs[4 + size :])) == b"the secret"


def test_a_tpm_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refusal = rf"^the TPM at \S*{tmp_path}/\w+ must answer, and does not: "
    with pytest.raises(PlatformUnable, match=refusal):
        open_swtpm(f"path={tmp_path}/none")
    with pytest.raises(PlatformUnable, match=refusal):
        open_device(f"{tmp_path}/tpmrm0")
