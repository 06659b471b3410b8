"""The guest's first process: answers the platform and lets the image's part do its work.

Everything in one loop but the user's script, which waits for the network and has a thread of its own. Where something
goes wrong that nobody foresaw, the process ends, the kernel with it, and the platform sees the VM go down: a guest that
is not sure of itself passes nothing.
"""

from __future__ import annotations

import json
import selectors
import socket
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from vafw.provider.qemu.guest import interfaces
from vafw.provider.qemu.guest.channel import BROKER_PORT_NAME, PORT_NAME, Channel, open_port
from vafw.trace import Value

if TYPE_CHECKING:
    from vafw.provider.qemu.guest.agent import AgentProcess
    from vafw.provider.qemu.guest.desktop import Desktop
    from vafw.provider.qemu.guest.filter import Filter
    from vafw.provider.qemu.guest.program import Program
    from vafw.provider.qemu.guest.relay import Relay

IMAGE: Final = Path("/vafw/image.json")


def main() -> None:
    """Serve until the VM is switched off, or the platform is gone."""
    channel = Channel(open_port(PORT_NAME))
    image = json.loads(IMAGE.read_text())
    channel.news("up", image=image["name"])
    try:
        with selectors.DefaultSelector() as selector:
            _Guest(channel, image, selector).serve()
    except EOFError:  # there is nobody to be told; this process ends, and with it the VM
        return
    except BaseException:
        channel.news("log", line=traceback.format_exc(limit=-4))
        raise


@final
class _Guest:
    """What there is in the guest: its part, and an agent where the platform wants one."""

    def __init__(self, channel: Channel, image: Mapping[str, str], selector: selectors.BaseSelector) -> None:
        self._channel = channel
        self._image = image
        self._selector = selector
        self._part: Filter | Program | Desktop | None = None
        self._acting: Filter | Program | None = None
        """The part, where it is one that may act by itself."""
        self._agent: AgentProcess | None = None
        self._relay: Relay | None = None

    def serve(self) -> None:
        """Answer whoever asks."""
        self._selector.register(self._channel, selectors.EVENT_READ, self._listen)
        while True:
            if self._agent is not None and self._agent.due_in_s() == 0:
                self._selector.register(self._agent.start(), selectors.EVENT_READ, self._listen_to_agent)
            if self._acting is not None and self._acting.due_in_s() == 0:
                self._acting.act()
            for ready, _ in self._selector.select(self._due_in_s()):
                ready.data()

    def _due_in_s(self) -> float | None:
        """Seconds until something is to be done that nobody asks for; None where there is no such thing."""
        parts = (each.due_in_s() for each in (self._agent, self._acting) if each is not None)
        return min((due_s for due_s in parts if due_s is not None), default=None)

    def _listen(self) -> None:
        for request in self._channel.receive():
            if self._part is None and "ports" not in request:
                self._channel.send({"id": request["id"], "error": "this guest was not configured yet"})
                continue
            if self._part is None:
                self._begin(request)
            assert self._part is not None
            if request["do"] == "manage":
                self._manage(request)
            elif request["do"] == "end-agent":
                self._end_agent(request)
            else:
                _answer(self._channel, self._part, request, self._agent)

    def _begin(self, request: Mapping[str, Value]) -> None:
        """The image's part, made when the first request says which ports there are."""
        ports = request["ports"]
        if not isinstance(ports, dict):
            raise ValueError(f"the first request must name the ports, not {ports!r}")
        interfaces.name_ports({name: str(mac) for name, mac in ports.items()})
        if self._image["runs"] == "filter":
            from vafw.provider.qemu.guest.filter import Filter  # deferred, as the others: imports take time here

            self._part = self._acting = Filter(tuple(ports), self._attend, self._log)
        elif self._image["runs"] == "desktop":
            from vafw.provider.qemu.guest.desktop import Desktop

            self._part = Desktop(next(iter(ports)))
        else:
            from vafw.provider.qemu.guest.program import Program

            program = self._part = self._acting = Program(self._image["module"], tuple(ports), self._log)
            for source, take in program.sources():
                self._selector.register(source, selectors.EVENT_READ, take)

    def _manage(self, request: Mapping[str, Value]) -> None:
        """Have an agent: the first one, or one with another mandate in place of the one that there is."""
        from vafw.provider.qemu.guest.agent import AgentProcess  # deferred, as most guests need it after they are ready
        from vafw.provider.qemu.guest.relay import Relay

        if self._relay is None:
            interfaces.up("lo")
            self._relay = Relay(open_port(BROKER_PORT_NAME))
            self._relay.start()
        if self._agent is not None:
            self._let_agent_go()
        agent = request["agent"]
        self._agent = AgentProcess(self._image["agent"], agent if isinstance(agent, dict) else {}, self._relay.address)
        self._channel.send({"id": request["id"]})

    def _end_agent(self, request: Mapping[str, Value]) -> None:
        """Kill the agent's process, to see that it comes back and that nothing that is in force needed it."""
        if self._agent is not None:
            self._agent.kill()
        self._channel.send({"id": request["id"]})

    def _listen_to_agent(self) -> None:
        agent, part = self._agent, self._part
        if agent is None or part is None or agent.channel is None:
            return
        try:
            for request in agent.channel.receive():
                self._answer_agent(agent, agent.channel, part, request)
        except (OSError, EOFError, ValueError, KeyError) as error:
            self._channel.news("log", line=f"the agent ended ({error}): {self._let_agent_go()}; it is started again")

    def _answer_agent(
        self, agent: AgentProcess, channel: Channel, part: Filter | Program | Desktop, request: Mapping[str, Value]
    ) -> None:
        """An agent may have a configuration put in force, and leave word for the one after it."""
        if request["do"] == "remember":
            left = request["agent"]
            agent.remember(left if isinstance(left, dict) else {})
        elif request["do"] == "configure":
            config = request["config"]
            healthy, reason = part.configure(config if isinstance(config, dict) else {})
            channel.send({"id": request["id"], "healthy": healthy, "reason": reason})
            if healthy:
                self._channel.news("health", healthy=healthy, reason=reason)

    def _attend(self, source: socket.socket, do: Callable[[], None]) -> None:
        """Do something whenever a socket has something to say."""
        self._selector.register(source, selectors.EVENT_READ, do)

    def _log(self, line: str) -> None:
        self._channel.news("log", line=line)

    def _let_agent_go(self) -> str:
        if self._agent is None:
            return ""
        if self._agent.channel is not None:
            self._selector.unregister(self._agent.channel)
        return self._agent.ended()


def _answer(
    channel: Channel, part: Filter | Program | Desktop, request: Mapping[str, Value], agent: AgentProcess | None
) -> None:
    number = request["id"]
    match request["do"]:
        case "configure":
            config = request["config"]
            healthy, reason = part.configure(config if isinstance(config, dict) else {})
            channel.send({"id": number, "healthy": healthy, "reason": reason})
        case "probe":
            healthy, reason = part.probe()
            channel.send({"id": number, "healthy": healthy, "reason": reason})
        case "report":
            counted = interfaces.counted(part.ports)
            about_agent = {"agent": agent.report()} if agent is not None else {}
            report = dict(part.report()) | about_agent
            channel.send({"id": number, "report": report, "interfaces": counted})
        case other:
            _act(channel, part, number, other)


def _act(channel: Channel, part: Filter | Program | Desktop, number: Value, what: Value) -> None:
    """Requests that only a user's OS takes; they may last, and are answered when they are over."""
    do = getattr(part, f"do_{what}", None)
    if do is None:
        channel.send({"id": number, "error": f"this guest cannot do {what!r}"})
        return
    do(lambda answer: channel.send({"id": number, **answer}))


main()
