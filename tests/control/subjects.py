"""Brokers as the conformance checks see them: lines that are right, and lines that must not get anywhere."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import aiomqtt

from vafw.clock import SystemClock
from vafw.control.broker_embedded import EmbeddedBroker
from vafw.control.broker_mosquitto import MosquittoBroker
from vafw.control.bus import Bus, Line, Message
from vafw.control.certificates import Authority

LAB = "lab"


class Subject(Protocol):
    """A broker under test."""

    def line(self, identity: str) -> Line: ...

    def stranger(self) -> Line:
        """A client without any proof of who it is."""
        ...

    def impostor(self, identity: str) -> Line:
        """A client with a proof made by somebody else."""
        ...

    def thief(self, identity: str, victim: str) -> Line:
        """A known client that takes another one's client id."""
        ...


@dataclass
class Mosquitto:
    broker: MosquittoBroker
    elsewhere: Path

    def line(self, identity: str) -> Line:
        return self.broker.line(identity)

    def stranger(self) -> Line:
        return self.broker.line_with("firewall", None, patience_s=0.5)

    def impostor(self, identity: str) -> Line:
        self.elsewhere.mkdir(exist_ok=True)
        authority = Authority(self.elsewhere, SystemClock().wall())
        return self.broker.line_with(identity, authority.client(identity), patience_s=0.5)

    def thief(self, identity: str, victim: str) -> Line:
        return self.broker.line_with(victim, self.broker.certificate(identity))


@dataclass
class Embedded:
    broker: EmbeddedBroker

    def line(self, identity: str) -> Line:
        return self.broker.line(identity)

    def stranger(self) -> Line:
        return self.broker.line_with("firewall", None, None)

    def impostor(self, identity: str) -> Line:
        self.broker.line(identity)
        return self.broker.line_with(identity, identity, "guessed")

    def thief(self, identity: str, victim: str) -> Line:
        return self.broker.line_with(victim, identity, self.broker.password(identity))


@asynccontextmanager
async def mosquitto(folder: Path) -> AsyncIterator[Subject]:
    async with MosquittoBroker.run(LAB, folder / "broker", SystemClock()) as broker:
        yield Mosquitto(broker, folder / "elsewhere")


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Subject]:
    async with EmbeddedBroker.run(LAB) as broker:
        yield Embedded(broker)


def raw(bus: Bus) -> aiomqtt.Client:
    """The client behind a bus, for what no bus would do."""
    return cast("aiomqtt.Client", cast("Any", bus)._client)


def cut(bus: Bus) -> None:
    """End the connection the way a power cut does."""
    cast("Any", raw(bus))._client.socket().shutdown(socket.SHUT_RDWR)


async def take(bus: Bus, count: int) -> list[Message]:
    """The next `count` messages."""
    messages = bus.messages()
    return [await anext(messages) for _ in range(count)]
