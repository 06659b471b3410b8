"""A verifier and a machine with a broker between them: what passes, and what of everything else is refused."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.attest.launched import DOCUMENTS, IMAGES, PLAN, REFERENCE, Machine, launched
from vafw.attest.desk import RATE_OF_STRANGERS, RATE_PER_MINUTE, VerifierDesk, Watched
from vafw.attest.enrolment import Identity
from vafw.attest.evidence_json import evidence_from_json, evidence_to_json
from vafw.attest.key import AttestationKey
from vafw.attest.ledger import Ledger
from vafw.attest.result import Tier
from vafw.attest.token import ResultChecker, ResultSigner
from vafw.clock import ManualClock
from vafw.control.bus import MqttLine
from vafw.control.verifier import FarVerifier, VerifierSilent, serve
from vafw.tcg import SHA256
from vafw.tcg.algorithms import digest
from vafw.wire import FormatError

PLATFORM = "lab:pc 1"
KEY = ec.derive_private_key(9, ec.SECP256R1())
MACHINE = launched()


def desk_of(machine: Machine = MACHINE, clock: ManualClock | None = None, ledger: Ledger | None = None) -> VerifierDesk:
    clock = clock or ManualClock()
    identity = Identity(PLATFORM, b"ek", AttestationKey(machine.tpm.ak_area), certified=False)
    documents = {kind: digest(SHA256, content).hex() for kind, content in DOCUMENTS.items()}
    watched = Watched(identity, REFERENCE, "office", digest(SHA256, PLAN), documents, tuple(IMAGES))
    signer = ResultSigner(KEY, "verifier", clock)
    return VerifierDesk({PLATFORM: watched}, signer, clock, random.Random(4).randbytes, ledger)


def told(reply: bytes | None) -> dict[str, object]:
    assert reply is not None
    content: dict[str, object] = json.loads(reply)
    return content


def asked(desk: VerifierDesk) -> bytes:
    return bytes.fromhex(str(told(desk.ask(PLATFORM, b'{"id": "1"}'))["nonce"]))


def evidence(nonce: bytes, **changes: object) -> bytes:
    content = {"id": "2", "nonce": nonce.hex(), "evidence": evidence_to_json(MACHINE.evidence(nonce))}
    return json.dumps(content | changes).encode()


def test_evidence_survives_the_wire() -> None:
    made = MACHINE.evidence(b"nonce")
    assert evidence_from_json(json.loads(json.dumps(evidence_to_json(made)))) == made


def test_a_challenge_that_is_answered_well_gives_a_token_and_a_record() -> None:
    clock, ledger = ManualClock(), Ledger(None, ManualClock())
    desk = desk_of(clock=clock, ledger=ledger)
    reply = told(desk.evidence(PLATFORM, evidence(asked(desk))))
    bound = ResultChecker(KEY.public_key(), "verifier", "office", clock).jwt(str(reply["token"]))
    assert (bound.tier, bound.platform, reply["id"]) == (Tier.AFFIRMING, PLATFORM, "2")
    assert ledger.head[0] == 1


def test_a_nonce_of_nobody_and_one_that_was_used_are_refused() -> None:
    desk = desk_of()
    nonce = asked(desk)
    assert "token" in told(desk.evidence(PLATFORM, evidence(nonce)))
    for used in (nonce, bytes(32)):
        result = told(desk.evidence(PLATFORM, evidence(used)))["result"]
        assert isinstance(result, dict)
        assert result["tier"] == "contraindicated"


@pytest.mark.parametrize(
    ("platform", "message", "error"),
    [
        ("lab:pc 2", b"{}", "request: no machine is enrolled as lab:pc 2"),
        (PLATFORM, b"[]", "evidence: a message must be one JSON object"),
        (PLATFORM, b"{", "evidence: a message must be one JSON object: "),
        (PLATFORM, b"[" * 100000, "evidence: a message must be one JSON object"),
        (PLATFORM, b" " * 300000, "evidence: a message must have at most 262144 bytes, not 300000"),
        (PLATFORM, b"{}", "evidence: it must name the nonce that it answers"),
        (PLATFORM, b'{"nonce": "00"}', "evidence: it cannot be read: "),
        (PLATFORM, b'{"nonce": "00", "evidence": {"quote": "AA", "extra": 1}}', "evidence: it cannot be read: "),
    ],
)
def test_a_message_that_is_none_is_refused(platform: str, message: bytes, error: str) -> None:
    reply = told(desk_of().evidence(platform, message))
    assert str(reply["error"]).startswith(error)
    assert "token" not in reply


def test_who_asks_too_often_hears_nothing_and_others_are_served() -> None:
    clock = ManualClock()
    desk = desk_of(clock=clock)
    strangers = [desk.ask("stranger", b"{}") for _ in range(RATE_OF_STRANGERS + 1)]
    mine = [desk.ask(PLATFORM, b"{}") for _ in range(RATE_PER_MINUTE + 1)]
    assert strangers[-1] is mine[-1] is None
    assert None not in (*strangers[:-1], *mine[:-1])
    clock.advance(60 / RATE_PER_MINUTE)
    assert desk.ask(PLATFORM, b"{}") is not None


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda each: st.dictionaries(st.text(max_size=4), each, max_size=3),
        max_leaves=5,
    )
)
def test_no_object_is_evidence_by_chance(content: object) -> None:
    with pytest.raises(FormatError):
        evidence_from_json(content)


# -- with a broker between ------------------------------------------------------------------------------------


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed (Debian package mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    config = tmp_path_factory.mktemp("broker") / "mosquitto.conf"
    config.write_text(f"listener {number} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    process = subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not listens(number):
            time.sleep(0.01)  # no event tells when a program of others listens
        yield number
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def served(port: int, desk: VerifierDesk) -> AsyncIterator[Callable[[], FarVerifier]]:
    """The verifier at work, and machines that ask it."""
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(desk, MqttLine("127.0.0.1", port, "verifier"), (PLATFORM,)))
        await asyncio.sleep(0.2)  # until it has subscribed: a message before that is lost, as MQTT has it
        yield lambda: FarVerifier(MqttLine("127.0.0.1", port, "pc"), PLATFORM)
        serving.cancel()


async def test_a_machine_is_affirmed_over_mqtt(port: int) -> None:
    clock = ManualClock()
    async with served(port, desk_of(clock=clock)) as machine:
        verifier = machine()
        nonce = await verifier.challenge()
        result, token = await verifier.appraise(MACHINE.evidence(nonce), nonce)
        bound = ResultChecker(KEY.public_key(), "verifier", "office", clock).jwt(token)
        assert (bound.nonce, bound.tier, result["tier"]) == (nonce, Tier.AFFIRMING, "affirming")


async def test_evidence_that_the_broker_alters_is_refused(port: int) -> None:
    async with served(port, desk_of()) as machine:
        verifier = machine()
        nonce = await verifier.challenge()
        altered = replace(MACHINE.evidence(nonce), quote=bytes(100))
        result, _ = await verifier.appraise(altered, nonce)
        assert result["tier"] == "contraindicated"


async def test_a_verifier_that_is_not_there_closes_the_gate_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vafw.control.verifier.ANSWER_TIMEOUT_S", 0.3)
    with pytest.raises(VerifierSilent, match=r"^the verifier must answer within 0 s, and did not$"):
        await FarVerifier(MqttLine("127.0.0.1", port, "pc"), PLATFORM).challenge()


async def test_a_machine_that_nobody_enrolled_is_told_so_refused(port: int) -> None:
    async with served(port, desk_of()):
        stranger = FarVerifier(MqttLine("127.0.0.1", port, "other"), "other")
        with pytest.raises(
            VerifierSilent, match=r"^the verifier gives no challenge: request: no machine is enrolled as other$"
        ):
            await stranger.challenge()
