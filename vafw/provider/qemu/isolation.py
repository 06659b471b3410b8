"""Trying, from inside the user's OS, to reach what must not be reachable.

What the guest says is taken as its own word where it looks around; what it sends is looked for outside, at the wire.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from vafw.clock import Clock
from vafw.machine.report import IsolationCheck
from vafw.plan.plan import Plan
from vafw.provider.qemu.argv import mac_of, wire_port
from vafw.provider.qemu.guest.forged import FORGED_DESTINATION, PRIVATE_ETHERTYPE
from vafw.provider.qemu.processes import VirtualMachine
from vafw.provider.qemu.wire import Wire

SETTLE_S: Final = 0.5
"""Longer than a frame takes along the path, by a hundred times."""
_NETWORK_CLASS: Final = "0x0200"


async def check_isolation(
    plan: Plan, user_os: VirtualMachine, wires: Collection[Wire], clock: Clock
) -> tuple[IsolationCheck, ...]:
    """Look for the network cards on the user OS's bus, and for frames at the wires that no rule lets pass.

    With no wire that can be looked at, only the first: an attempt whose outcome nobody sees proves nothing.
    """
    seen = await user_os.request("look")
    outer = {mac_of(plan, port) for port in plan.feeds().values()}
    macs = seen.get("macs")
    functions = seen.get("functions")
    cards = [str(each) for each in functions if _NETWORK_CLASS in str(each)] if isinstance(functions, list) else []
    ports = len(plan.vm(user_os.name).ports)
    hidden = isinstance(macs, list) and outer.isdisjoint(map(str, macs)) and len(cards) == ports
    name, target = user_os.name, str(wire_port(plan))
    look = IsolationCheck("find the card on the bus", name, plan.path[0], hidden, f"its bus shows {', '.join(cards)}")
    if not wires:
        return (look,)
    await user_os.request("shout")
    await clock.sleep(SETTLE_S)
    left = tuple(frame for wire in wires for frame in wire.left)
    ethertype = [frame for frame in left if frame[12:14] == PRIVATE_ETHERTYPE]
    forged = [frame for frame in left if frame[12:14] == b"\x08\x00" and frame[30:34] == FORGED_DESTINATION]
    return (
        look,
        IsolationCheck("send a private ethertype", name, target, not ethertype, f"{len(ethertype)} reached the wire"),
        IsolationCheck("send from a forged address", name, target, not forged, f"{len(forged)} reached the wire"),
    )
