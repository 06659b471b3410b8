"""The guest's first process: answers the platform and lets the image's part do its work.

Everything in one loop but the user's script, which waits for the network and has a thread of its own. Where something
goes wrong that nobody foresaw, the process ends, the kernel with it, and the platform sees the VM go down: a guest that
is not sure of itself passes nothing.
"""

from __future__ import annotations

import json
import selectors
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vafw.provider.qemu.guest import interfaces
from vafw.provider.qemu.guest.channel import Channel, device
from vafw.trace import Value

if TYPE_CHECKING:
    from vafw.provider.qemu.guest.desktop import Desktop
    from vafw.provider.qemu.guest.filter import Filter
    from vafw.provider.qemu.guest.program import Program

IMAGE: Final = Path("/vafw/image.json")


def main() -> None:
    """Serve until the VM is switched off, or the platform is gone."""
    channel = Channel(device())
    image = json.loads(IMAGE.read_text())
    channel.news("up", image=image["name"])
    try:
        _serve(channel, image)
    except EOFError:  # there is nobody to be told; this process ends, and with it the VM
        return
    except BaseException:
        channel.news("log", line=traceback.format_exc(limit=-4))
        raise


def _serve(channel: Channel, image: Mapping[str, str]) -> None:
    part: Filter | Program | Desktop | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for ready, _ in selector.select():
                if ready.data is not None:
                    ready.data()
                    continue
                for request in channel.receive():
                    if part is None and "ports" not in request:
                        channel.send({"id": request["id"], "error": "this guest was not configured yet"})
                        continue
                    part = part or _begin(channel, image, request, selector)
                    _answer(channel, part, request)


def _begin(
    channel: Channel, image: Mapping[str, str], request: Mapping[str, Value], selector: selectors.BaseSelector
) -> Filter | Program | Desktop:
    """The image's part, made when the first request says which ports there are."""
    ports = request["ports"]
    if not isinstance(ports, dict):
        raise ValueError(f"the first request must name the ports, not {ports!r}")
    interfaces.name_ports({name: str(mac) for name, mac in ports.items()})
    if image["runs"] == "filter":
        from vafw.provider.qemu.guest.filter import Filter  # deferred, as the others: imports take time here

        return Filter()
    if image["runs"] == "desktop":
        from vafw.provider.qemu.guest.desktop import Desktop

        return Desktop(next(iter(ports)))
    from vafw.provider.qemu.guest.program import Program

    program = Program(image["module"], tuple(ports), lambda line: channel.news("log", line=line))
    for source, take in program.sources():
        selector.register(source, selectors.EVENT_READ, take)
    return program


def _answer(channel: Channel, part: Filter | Program | Desktop, request: Mapping[str, Value]) -> None:
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
            channel.send({"id": number, "report": dict(part.report()), "interfaces": counted})
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
