"""The bus as agents and the controller see it, and MQTT behind it.

Not a broker. A `Line` is how one identity reaches one broker; `connect` gives a `Bus` for as long as the connection
lasts, and everything that ends it early is `BusLost`. An acknowledged publish is no promise: what counts is what the
other end reports.

Time limits are ours, not the client's: its own are `asyncio.wait_for`, which up to Python 3.11 returns an answer that
arrives together with a cancellation and forgets the cancellation.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol, final

import aiomqtt

from vafw.control.envelope import MAXIMUM_BYTES
from vafw.errors import VafwError

ANSWER_TIMEOUT_S: Final = 5.0
"""How long a broker may take to answer; one that is slower counts as lost."""
KEEPALIVE_S: Final = 10
_QOS: Final = 1
_NO_DELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""Without it each small message waits some 40 ms for the acknowledgement of the one before."""
_QUEUE: Final = 1000
"""Messages that wait for a reader at most; as many as the broker keeps for a client that is away."""


class BusLost(VafwError):
    """The broker cannot be reached, refused us, or went away."""


class PayloadTooLarge(VafwError):
    """A payload that a portable broker would not pass on."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message that came in."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection ends without a farewell."""

    topic: str
    payload: bytes


class Bus(Protocol):
    """An open connection."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Hand over a message; returns when the broker has it, which is not when it is safe."""
        ...

    async def subscribe(self, wanted: str) -> None:
        """Ask for a filter; a broker may grant it and deliver nothing."""
        ...

    def messages(self) -> AsyncIterator[Message]:
        """What comes in; ends in BusLost."""
        ...


class Line(Protocol):
    """How one identity reaches one broker."""

    def connect(self, will: Will | None = None, *, remembered: bool = False) -> AbstractAsyncContextManager[Bus]:
        """Connect for as long as the block lasts; with `remembered` the broker queues while we are away."""
        ...


@final
class MqttLine:
    """A line over TCP to an MQTT 3.1.1 broker."""

    def __init__(
        self,
        host: str,
        port: int,
        identity: str,
        *,
        tls: ssl.SSLContext | None = None,
        user: str | None = None,
        password: str | None = None,
        patience_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """`identity` is the client id; a broker knows us by the certificate in `tls`, or by user and password."""
        self._host = host
        self._port = port
        self._identity = identity
        self._tls = tls
        self._user = user
        self._password = password
        self._patience_s = patience_s

    @asynccontextmanager
    async def connect(self, will: Will | None = None, *, remembered: bool = False) -> AsyncIterator[Bus]:
        """Connect; BusLost with the real reason where TLS refused."""
        client = aiomqtt.Client(
            self._host,
            self._port,
            identifier=self._identity,
            username=self._user,
            password=self._password,
            clean_session=not remembered,
            will=aiomqtt.Will(will.topic, will.payload, _QOS, retain=True) if will else None,
            timeout=math.inf,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=_QUEUE,
            tls_context=self._tls,
            socket_options=[_NO_DELAY],
        )
        try:
            async with asyncio.timeout(self._patience_s):
                await client.__aenter__()
        except (aiomqtt.MqttError, OSError) as error:
            _hang_up(client)
            raise BusLost(f"the broker at port {self._port} was lost: {await self._reason(error)}") from error
        except asyncio.CancelledError:
            _hang_up(client)
            raise
        try:
            yield _MqttBus(client, self._patience_s)
        finally:
            try:
                with suppress(aiomqtt.MqttError, OSError):  # TimeoutError among them: whom we leave need not answer
                    async with asyncio.timeout(self._patience_s):
                        await client.__aexit__(None, None, None)
            finally:
                _hang_up(client)

    async def _reason(self, error: Exception) -> str:
        """What is behind a failure: the client hides refusals of TLS, so shake hands once more without it."""
        if self._tls is None:
            return str(error)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S / 5):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
                try:
                    await reader.read(1)  # TLS 1.3 tells a refused client certificate with the first data
                finally:
                    writer.close()
        except (OSError, TimeoutError) as refusal:
            return str(refusal) or str(error)
        return str(error)


@final
class _MqttBus:
    """An open connection of aiomqtt's."""

    def __init__(self, client: aiomqtt.Client, patience_s: float) -> None:
        self._client = client
        self._patience_s = patience_s

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 1."""
        if len(payload) > MAXIMUM_BYTES:
            raise PayloadTooLarge(f"a message must have {MAXIMUM_BYTES} bytes at most, not {len(payload)}")
        with _telling_loss():
            async with asyncio.timeout(self._patience_s):
                await self._client.publish(topic, payload, qos=_QOS, retain=retain)

    async def subscribe(self, wanted: str) -> None:
        """Subscribe with QoS 1."""
        with _telling_loss():
            async with asyncio.timeout(self._patience_s):
                await self._client.subscribe(wanted, qos=_QOS)

    async def messages(self) -> AsyncIterator[Message]:
        """What comes in."""
        arriving = aiter(self._client.messages)
        while True:
            with _telling_loss():
                each = await anext(arriving)
            payload = each.payload
            yield Message(str(each.topic), payload if isinstance(payload, bytes) else b"", each.retain)


def _hang_up(client: aiomqtt.Client) -> None:
    """Close what paho leaves open where its handshake, or its goodbye, was not waited for; nothing where it did not."""
    client._client._sock_close()


@contextmanager
def _telling_loss() -> Iterator[None]:
    """What the client says of a connection that is gone, or has not answered in time, as BusLost."""
    try:
        yield
    except aiomqtt.MqttError as error:
        raise BusLost(f"the connection to the broker was lost: {error}") from error
    except TimeoutError as error:
        raise BusLost("the connection to the broker was lost: it did not answer in time") from error
