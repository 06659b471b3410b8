"""The verifier over MQTT: challenge and evidence as messages, from its own side and from a machine's.

    vafw/1/attest/<platform>/ask         machine  ─▶ verifier    {"id"}
    vafw/1/attest/<platform>/challenge   verifier ─▶ machine     {"id", "nonce"}
    vafw/1/attest/<platform>/evidence    machine  ─▶ verifier    {"id", "nonce", "evidence"}
    vafw/1/attest/<platform>/result      verifier ─▶ machine     {"id", "result", "token"}, or {"id", "error"}

The broker is trusted with nothing but carrying: a nonce that it alters answers no challenge, evidence that it alters is
not signed, and a result that it alters has no token. It can lose messages, which closes the gate.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, final

from vafw.attest.desk import VerifierDesk
from vafw.attest.evidence import Evidence
from vafw.attest.evidence_json import evidence_to_json, read_object
from vafw.control.bus import Bus, Line
from vafw.errors import GateUnavailable
from vafw.trace import Value

ROOT: Final = "vafw/1/attest"
ISSUER: Final = "vafw-verifier"
"""What a verifier calls itself in its results, and at the broker."""
ANSWER_TIMEOUT_S: Final = 10.0


class VerifierSilent(GateUnavailable):
    """The verifier did not answer, or answered that it cannot."""


def topic(platform: str, leaf: str) -> str:
    """The topic of a platform; its name keeps out what MQTT gives a meaning to."""
    level = "".join(each if each.isalnum() or each in "-_.:" else f"%{ord(each):x}" for each in platform)
    return f"{ROOT}/{level}/{leaf}"


async def serve(desk: VerifierDesk, line: Line, platforms: tuple[str, ...]) -> None:
    """Answer for these platforms until cancelled; BusLost where the broker goes away. Strangers are answered too."""
    known = {topic(platform, ""): platform for platform in platforms}
    async with line.connect() as bus:
        for leaf in ("ask", "evidence"):
            await bus.subscribe(f"{ROOT}/+/{leaf}")
        async for message in bus.messages():
            place, _, leaf = message.topic.rpartition("/")
            platform = known.get(f"{place}/", place.removeprefix(f"{ROOT}/"))
            answer = desk.ask if leaf == "ask" else desk.evidence
            if (reply := answer(platform, message.payload)) is not None:
                kind = "challenge" if leaf == "ask" else "result"
                await bus.publish(f"{place}/{kind}", reply, retain=False)


@final
class FarVerifier:
    """A machine's end of the wire."""

    def __init__(self, line: Line, platform: str) -> None:
        self._line = line
        self._platform = platform

    async def challenge(self) -> bytes:
        """A nonce of the verifier's; VerifierSilent where none comes."""
        reply = await self._exchange("ask", "challenge", {})
        return bytes.fromhex(str(reply["nonce"]))

    async def appraise(self, evidence: Evidence, nonce: bytes) -> tuple[dict[str, Value], str]:
        """The result as JSON, for people, and its token; VerifierSilent where none comes."""
        content: dict[str, Value] = {"nonce": nonce.hex(), "evidence": evidence_to_json(evidence)}
        reply = await self._exchange("evidence", "result", content)
        return reply["result"], str(reply["token"])

    async def _exchange(self, asking: str, answering: str, content: dict[str, Value]) -> dict[str, Any]:
        number = secrets.token_hex(8)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), self._listening(answering) as bus:
                payload = json.dumps({"id": number, **content}).encode()
                await bus.publish(topic(self._platform, asking), payload, retain=False)
                async for message in bus.messages():
                    reply = read_object(message.payload)
                    if reply.get("id") == number:
                        break
        except TimeoutError:
            raise VerifierSilent(f"the verifier must answer within {ANSWER_TIMEOUT_S:.0f} s, and did not") from None
        if "error" in reply:
            raise VerifierSilent(f"the verifier gives no {answering}: {reply['error']}")
        return reply

    @asynccontextmanager
    async def _listening(self, leaf: str) -> AsyncIterator[Bus]:
        async with self._line.connect() as bus:
            await bus.subscribe(topic(self._platform, leaf))
            yield bus
