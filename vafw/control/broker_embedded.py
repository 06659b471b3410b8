# mypy: disallow-subclassing-any=False, disable-error-code="import-untyped"
"""A broker inside this process, for one machine without mosquitto: amqtt, narrowed to what `topics` allows.

It listens on loopback only. A client proves itself with a password that exists in this process's memory and in the line
that was handed out, and its client id must be its identity. Whatever is not plainly allowed is refused: a connection
before anything of it is used, a subscription unless its whole filter is covered, a message unless its topic is the
client's own, a last will likewise.

Retained messages go only to whoever subscribed to them, and no client waits for ever in a half-made connection.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, final

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from vafw.control import topics
from vafw.control.access import Access
from vafw.control.bus import MqttLine
from vafw.control.envelope import MAXIMUM_BYTES

ADDRESS: Final = "127.0.0.1"
CONNECT_TIMEOUT_S: Final = 5.0
"""How long a client may take from its first byte to a whole CONNECT."""
MAXIMUM_CONNECTIONS: Final = 256


class DenyingAuthentication(BaseAuthPlugin):
    """Asks the broker it belongs to; a plugin on its own lets nobody in."""

    async def authenticate(self, *, session: Session) -> bool:
        """Whether the session's identity and password were handed out."""
        broker = _broker_of(self)
        return broker is not None and broker.admits(session)


class TopicTable(BaseTopicPlugin):
    """Asks the table of topics; whatever it does not allow is refused."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether the session's identity may do that."""
        broker = _broker_of(self)
        if broker is None or session is None or not session.client_id or not topic:
            return False
        if action is Action.PUBLISH:
            return topics.may_write(session.client_id, broker.workstation, topic)
        return topics.may_read(session.client_id, broker.workstation, topic)


def _broker_of(plugin: BaseAuthPlugin | BaseTopicPlugin) -> _Narrowed | None:
    broker = getattr(plugin.context, "_broker_instance", None)
    return broker if isinstance(broker, _Narrowed) else None


@final
class _Narrowed(Broker):
    """amqtt's broker with its doors closed."""

    def __init__(self, workstation: str, listener: ListenerConfig) -> None:
        self.workstation = workstation
        self.passwords: dict[str, str] = {}
        self._conversations: set[asyncio.Task[None] | None] = set()
        plugins = [DenyingAuthentication, TopicTable]
        super().__init__(
            BrokerConfig(
                listeners={"default": listener},
                plugins={f"{each.__module__}.{each.__qualname__}": {} for each in plugins},
            )
        )

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Talk to one client, and let go of it in the end whatever happened."""
        conversation = asyncio.current_task()
        self._conversations.add(conversation)
        try:
            await super().stream_connected(reader, writer, listener_name)
        finally:
            self._conversations.discard(conversation)
            writer.close()

    async def end(self) -> None:
        """Stop, and wait until every client is gone."""
        await self.shutdown()
        talking = [each for each in self._conversations if each is not None]
        for each in talking:
            each.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def admits(self, session: Session) -> bool:
        """Whether a session's identity is one that was handed out, and its last will is its own."""
        expected = self.passwords.get(session.client_id or "")
        if expected is None or session.username != session.client_id or not isinstance(session.password, str):
            return False
        if not hmac.compare_digest(session.password.encode(), expected.encode()):
            return False
        will = session.will_topic if session.will_flag else None
        return will is None or topics.may_write(session.client_id or "", self.workstation, will)

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        """Read a CONNECT in time and admit it before anything of it touches another session."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                handler, session = await BrokerProtocolHandler.init_from_connect(reader, writer, self.plugins_manager)
        except TimeoutError as error:
            await writer.close()
            raise AMQTTError("a CONNECT must be whole in time") from error
        if not self.admits(session):
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            await writer.close()
            raise AMQTTError("a client must be known")
        return handler, await self._session_of(session)

    async def _session_of(self, session: Session) -> Session:
        """The session that continues, with what the new connection brings."""
        identity = session.client_id or ""
        known, _ = self._sessions.get(identity, (None, None))
        if session.clean_session or known is None:
            await self._delete_session(identity)
            session.parent = 0
            return session
        for name in ("will_flag", "will_message", "will_topic", "will_qos", "will_retain", "keep_alive", "password"):
            setattr(known, name, getattr(session, name))
        known.parent = 1
        return known

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Send a filter's retained messages to a session that holds this filter, to nobody else."""
        wanted, _ = subscription
        held = [qos for each, qos in self._subscriptions.get(wanted, []) if each.client_id == session.client_id]
        if held:
            await super()._publish_retained_messages_for_subscription((wanted, held[0]), session)

    async def _handle_message_delivery(
        self, client_session: Session, handler: BrokerProtocolHandler, wait_deliver: asyncio.Future[Any]
    ) -> bool:
        """Hang up on whoever sends more than a message may have."""
        message = wait_deliver.result()
        if message is not None and len(message.data or b"") > MAXIMUM_BYTES:
            return False
        return bool(await super()._handle_message_delivery(client_session, handler, wait_deliver))


@final
class EmbeddedBroker:
    """A running broker in this process."""

    def __init__(self, broker: _Narrowed, port: int) -> None:
        self._broker = broker
        self.port = port

    @classmethod
    @asynccontextmanager
    async def run(cls, workstation: str) -> AsyncIterator[EmbeddedBroker]:
        """A broker for as long as the block lasts."""
        topics.require_name(workstation, "a workstation")
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # it logs each refusal, which is our tests' business
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        port = _free_port()
        listener = ListenerConfig(bind=f"{ADDRESS}:{port}", max_connections=MAXIMUM_CONNECTIONS)
        broker = _Narrowed(workstation, listener)
        await broker.start()
        try:
            yield cls(broker, port)
        finally:
            await broker.end()

    def line(self, identity: str) -> MqttLine:
        """How `identity` reaches it, with a fresh password."""
        return self.line_with(identity, identity, self.password(identity))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ADDRESS, self.port

    def access(self, identity: str) -> Access:
        """What lets `identity` in from elsewhere."""
        return Access(identity, password=self.password(identity))

    def password(self, identity: str) -> str:
        """The password of an identity, made when it is first asked for."""
        return self._broker.passwords.setdefault(identity, secrets.token_urlsafe(32))

    def line_with(self, client: str, user: str | None, password: str | None) -> MqttLine:
        """A line with a client id and a password made elsewhere, or with none."""
        return MqttLine(ADDRESS, self.port, client, user=user, password=password)

    def forget(self) -> None:
        """Lose everything that was retained, as a wiped broker does."""
        self._broker.retained_messages.clear()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((ADDRESS, 0))
        port: int = asked.getsockname()[1]
    return port
