"""The verifier over MQTT: challenge and evidence as messages, from its own side and from a machine's.

    machine                 verifier
       ── ask ─────────────────▶
       ◀───────────── challenge ──     a nonce
       ── evidence ────────────▶
       ◀──────────────── result ──     and its token

Topics and contents stand in `topics`. The broker is trusted with nothing but carrying: a nonce that it alters answers
no challenge, evidence that it alters is not signed, and a result that it alters has no token. It can lose messages,
which closes the gate.
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
from vafw.control import topics
from vafw.control.bus import Bus, Line
from vafw.control.topics import ASK, CHALLENGE, EVIDENCE, RESULT, VERIFIER, Leaf
from vafw.errors import GateUnavailable
from vafw.trace import Value

ISSUER: Final = VERIFIER
"""Whose results a gate takes."""
ANSWER_TIMEOUT_S: Final = 10.0


class VerifierSilent(GateUnavailable):
    """The verifier did not answer, or answered that it cannot."""


async def serve(desk: VerifierDesk, line: Line, platforms: tuple[str, ...]) -> None:
    """Answer for these platforms until cancelled; BusLost where the broker goes away. Strangers are answered too."""
    known = {topics.platform_level(platform): platform for platform in platforms}
    async with line.connect() as bus:
        for leaf in (ASK, EVIDENCE):
            await bus.subscribe(topics.every_platform(leaf))
        async for message in bus.messages():
            if (place := topics.attest_place(message.topic)) is None:
                continue
            level, leaf = place
            platform = known.get(level, level)
            answer = desk.ask if leaf is ASK else desk.evidence
            if (reply := answer(platform, message.payload)) is not None:
                kind = CHALLENGE if leaf is ASK else RESULT
                await bus.publish(topics.attest_topic(platform, kind), reply, retain=False)


@final
class FarVerifier:
    """A machine's end of the wire."""

    def __init__(self, line: Line, platform: str) -> None:
        self._line = line
        self._platform = platform

    async def challenge(self) -> bytes:
        """A nonce of the verifier's; VerifierSilent where none comes."""
        reply = await self._exchange(ASK, CHALLENGE, {})
        return bytes.fromhex(str(reply["nonce"]))

    async def appraise(self, evidence: Evidence, nonce: bytes) -> tuple[dict[str, Value], str]:
        """The result as JSON, for people, and its token; VerifierSilent where none comes."""
        content: dict[str, Value] = {"nonce": nonce.hex(), "evidence": evidence_to_json(evidence)}
        reply = await self._exchange(EVIDENCE, RESULT, content)
        return reply["result"], str(reply["token"])

    async def _exchange(self, asking: Leaf, answering: Leaf, content: dict[str, Value]) -> dict[str, Any]:
        number = secrets.token_hex(8)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), self._listening(answering) as bus:
                payload = json.dumps({"id": number, **content}).encode()
                await bus.publish(topics.attest_topic(self._platform, asking), payload, retain=False)
                async for message in bus.messages():
                    reply = read_object(message.payload)
                    if reply.get("id") == number:
                        break
        except TimeoutError:
            raise VerifierSilent(f"the verifier must answer within {ANSWER_TIMEOUT_S:.0f} s, and did not") from None
        if "error" in reply:
            raise VerifierSilent(f"the verifier gives no {answering.name}: {reply['error']}")
        return reply

    @asynccontextmanager
    async def _listening(self, leaf: Leaf) -> AsyncIterator[Bus]:
        async with self._line.connect() as bus:
            await bus.subscribe(topics.attest_topic(self._platform, leaf))
            yield bus
