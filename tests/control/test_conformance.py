"""What any broker must do and must not do here: one list of checks, run against every broker that this project uses.

That nothing arrives is shown by what arrives instead: a message that is allowed, sent after the one that is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import aiomqtt
import pytest
import pytest_asyncio

from tests.control.subjects import LAB, Subject, cut, embedded, mosquitto, raw, take
from vafw.control.broker_mosquitto import installed
from vafw.control.bus import BusLost, Message, Will
from vafw.control.envelope import MAXIMUM_BYTES
from vafw.control.topics import AVAIL, CONTROLLER, DESIRED, EVENT, REPORTED, Leaf, every, topic

Check = Callable[[Subject], Awaitable[None]]
Open = Callable[[Path], AbstractAsyncContextManager[Subject]]


def at(appliance: str, leaf: Leaf) -> str:
    return topic(LAB, appliance, leaf)


async def a_retained_message_reaches_a_wildcard_subscription(subject: Subject) -> None:
    async with subject.line("firewall").connect() as agent:
        await agent.publish(at("firewall", REPORTED), b"said", retain=True)
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.subscribe(every(LAB, REPORTED))
        assert await take(controller, 1) == [Message(at("firewall", REPORTED), b"said", retained=True)]


async def an_empty_payload_clears_a_retained_message(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.publish(at("firewall", DESIRED), b"old", retain=True)
        await controller.publish(at("firewall", DESIRED), b"", retain=True)
        async with subject.line("firewall").connect() as agent:
            await agent.subscribe(at("firewall", DESIRED))
            await controller.publish(at("firewall", DESIRED), b"new", retain=False)
            assert [each.payload for each in await take(agent, 1)] == [b"new"]


async def a_hundred_messages_arrive_in_order(subject: Subject) -> None:
    sent = [b"%d" % number for number in range(100)]
    async with subject.line(CONTROLLER).connect() as controller, subject.line("firewall").connect() as agent:
        await controller.subscribe(every(LAB, EVENT))
        for payload in sent:
            await agent.publish(at("firewall", EVENT), payload, retain=False)
        assert [each.payload for each in await take(controller, 100)] == sent


async def twenty_messages_wait_in_order_for_who_is_away(subject: Subject) -> None:
    line = subject.line("firewall")
    async with line.connect(remembered=True) as agent:
        await agent.subscribe(at("firewall", DESIRED))
    sent = [b"%d" % number for number in range(20)]
    async with subject.line(CONTROLLER).connect() as controller:
        for payload in sent:
            await controller.publish(at("firewall", DESIRED), payload, retain=False)
    async with line.connect(remembered=True) as agent:
        assert [each.payload for each in await take(agent, 20)] == sent


async def the_last_will_is_published_when_a_client_is_cut_off(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.subscribe(every(LAB, AVAIL))
        with suppress(BusLost):
            async with subject.line("firewall").connect(Will(at("firewall", AVAIL), b"lost")) as agent:
                cut(agent)
        assert [each.payload for each in await take(controller, 1)] == [b"lost"]


async def no_last_will_is_published_after_a_farewell(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.subscribe(every(LAB, AVAIL))
        async with subject.line("firewall").connect(Will(at("firewall", AVAIL), b"lost")):
            pass
        async with subject.line("firewall").connect() as agent:
            await agent.publish(at("firewall", AVAIL), b"back", retain=False)
        assert [each.payload for each in await take(controller, 1)] == [b"back"]


async def a_last_will_on_a_foreign_topic_is_not_published(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.subscribe(every(LAB, AVAIL))
        with suppress(BusLost):
            async with subject.line("dns").connect(Will(at("firewall", AVAIL), b"forged")) as agent:
                cut(agent)
        async with subject.line("firewall").connect() as agent:
            await agent.publish(at("firewall", AVAIL), b"own", retain=False)
        assert [each.payload for each in await take(controller, 1)] == [b"own"]


async def a_foreign_retained_message_is_not_sent_to_a_newcomer(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.publish(at("firewall", DESIRED), b"secret", retain=True)
        async with subject.line("firewall").connect(remembered=True) as owner:
            await owner.subscribe(at("firewall", DESIRED))
            assert [each.payload for each in await take(owner, 1)] == [b"secret"]
            async with subject.line("dns").connect() as agent:
                await agent.subscribe(at("dns", DESIRED))
                await controller.publish(at("dns", DESIRED), b"own", retain=False)
                assert [each.payload for each in await take(agent, 1)] == [b"own"]


async def a_subscription_to_a_foreign_topic_gets_nothing(subject: Subject) -> None:
    await _gets_nothing_by(subject, at("firewall", DESIRED))


async def a_subscription_to_everything_gets_nothing_foreign(subject: Subject) -> None:
    await _gets_nothing_by(subject, "#")


async def a_wildcard_in_the_place_of_the_appliance_gets_nothing_foreign(subject: Subject) -> None:
    await _gets_nothing_by(subject, every(LAB, DESIRED))


async def _gets_nothing_by(subject: Subject, wanted: str) -> None:
    async with subject.line(CONTROLLER).connect() as controller, subject.line("dns").connect() as agent:
        await agent.subscribe(at("dns", DESIRED))
        await agent.subscribe(wanted)
        await controller.publish(at("firewall", DESIRED), b"foreign", retain=True)
        await controller.publish(at("dns", DESIRED), b"own", retain=False)
        assert {each.payload for each in await take(agent, 1)} == {b"own"}


async def a_message_to_a_foreign_topic_is_not_passed_on(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller, subject.line("dns").connect() as agent:
        await controller.subscribe(every(LAB, REPORTED))
        await agent.publish(at("firewall", REPORTED), b"forged", retain=True)
        await agent.publish(at("dns", REPORTED), b"own", retain=True)
        assert [each.topic for each in await take(controller, 1)] == [at("dns", REPORTED)]


async def an_agent_cannot_desire_for_itself(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller, subject.line("firewall").connect() as agent:
        await agent.subscribe(at("firewall", DESIRED))
        await agent.publish(at("firewall", DESIRED), b"forged", retain=True)
        await agent.publish(at("firewall", REPORTED), b"sent", retain=True)
        await controller.subscribe(at("firewall", REPORTED))
        await take(controller, 1)
        await controller.publish(at("firewall", DESIRED), b"genuine", retain=True)
        assert [each.payload for each in await take(agent, 1)] == [b"genuine"]


async def the_controller_cannot_report_for_an_agent(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller, subject.line("firewall").connect() as agent:
        await controller.subscribe(every(LAB, REPORTED))
        await controller.publish(at("firewall", REPORTED), b"forged", retain=True)
        await agent.publish(at("firewall", REPORTED), b"own", retain=True)
        assert [each.payload for each in await take(controller, 1)] == [b"own"]


async def a_client_without_proof_is_refused(subject: Subject) -> None:
    await _cannot_connect(subject.stranger())


async def a_client_with_a_proof_of_another_authority_is_refused(subject: Subject) -> None:
    await _cannot_connect(subject.impostor("firewall"))


async def _cannot_connect(line: object) -> None:
    with pytest.raises(BusLost):
        async with line.connect():  # type: ignore[attr-defined]
            pytest.fail("it must not be connected")


async def who_takes_a_client_id_does_not_put_its_owner_out(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller, subject.line("firewall").connect() as owner:
        await owner.subscribe(at("firewall", DESIRED))
        with suppress(BusLost):
            async with subject.thief("dns", "firewall").connect() as thief:
                await thief.publish(at("dns", EVENT), b"here", retain=False)
        await controller.publish(at("firewall", DESIRED), b"still here", retain=False)
        assert [each.payload for each in await take(owner, 1)] == [b"still here"]


async def who_takes_a_client_id_does_not_get_its_queue(subject: Subject) -> None:
    line = subject.line("firewall")
    async with line.connect(remembered=True) as owner:
        await owner.subscribe(at("firewall", DESIRED))
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.publish(at("firewall", DESIRED), b"waiting", retain=False)
    with suppress(BusLost):
        async with subject.thief("dns", "firewall").connect():
            pass
    async with line.connect(remembered=True) as owner:
        assert [each.payload for each in await take(owner, 1)] == [b"waiting"]


async def a_payload_of_the_largest_size_passes(subject: Subject) -> None:
    payload = b"x" * MAXIMUM_BYTES
    async with subject.line(CONTROLLER).connect() as controller, subject.line("firewall").connect() as agent:
        await agent.subscribe(at("firewall", DESIRED))
        await controller.publish(at("firewall", DESIRED), payload, retain=False)
        assert [each.payload for each in await take(agent, 1)] == [payload]


async def a_payload_beyond_the_largest_size_is_not_passed_on(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller:
        await controller.subscribe(every(LAB, EVENT))
        with suppress(BusLost):
            async with subject.line("firewall").connect() as agent:
                large = b"x" * (2 * MAXIMUM_BYTES)
                with suppress(aiomqtt.MqttError):
                    await raw(agent).publish(at("firewall", EVENT), large, qos=1, timeout=0.5)
        async with subject.line("firewall").connect() as agent:
            await agent.publish(at("firewall", EVENT), b"small", retain=False)
        assert [each.payload for each in await take(controller, 1)] == [b"small"]


async def an_identity_that_is_a_wildcard_gets_nothing(subject: Subject) -> None:
    async with subject.line(CONTROLLER).connect() as controller, subject.line("firewall").connect() as agent:
        await controller.subscribe(every(LAB, REPORTED))
        with suppress(BusLost):
            async with subject.line("+").connect() as wildcard:
                await wildcard.publish(at("firewall", REPORTED), b"forged", retain=True)
        await agent.publish(at("firewall", REPORTED), b"own", retain=True)
        assert [each.payload for each in await take(controller, 1)] == [b"own"]


async def the_brokers_own_topics_are_nobodys_business(subject: Subject) -> None:
    await _gets_nothing_by(subject, "$SYS/#")


CHECKS: tuple[Check, ...] = (
    a_retained_message_reaches_a_wildcard_subscription,
    an_empty_payload_clears_a_retained_message,
    a_hundred_messages_arrive_in_order,
    twenty_messages_wait_in_order_for_who_is_away,
    the_last_will_is_published_when_a_client_is_cut_off,
    no_last_will_is_published_after_a_farewell,
    a_last_will_on_a_foreign_topic_is_not_published,
    a_foreign_retained_message_is_not_sent_to_a_newcomer,
    a_subscription_to_a_foreign_topic_gets_nothing,
    a_subscription_to_everything_gets_nothing_foreign,
    a_wildcard_in_the_place_of_the_appliance_gets_nothing_foreign,
    a_message_to_a_foreign_topic_is_not_passed_on,
    an_agent_cannot_desire_for_itself,
    the_controller_cannot_report_for_an_agent,
    a_client_without_proof_is_refused,
    a_client_with_a_proof_of_another_authority_is_refused,
    who_takes_a_client_id_does_not_put_its_owner_out,
    who_takes_a_client_id_does_not_get_its_queue,
    a_payload_of_the_largest_size_passes,
    a_payload_beyond_the_largest_size_is_not_passed_on,
    an_identity_that_is_a_wildcard_gets_nothing,
    the_brokers_own_topics_are_nobodys_business,
)


@pytest_asyncio.fixture(
    params=[
        pytest.param(
            mosquitto,
            marks=pytest.mark.skipif(installed() is None, reason="mosquitto is not installed on this host"),
        ),
        embedded,
    ]
)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    opened: Open = request.param
    async with opened(tmp_path) as found:
        yield found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_broker_conforms(subject: Subject, check: Check) -> None:
    async with asyncio.timeout(20):
        await check(subject)
