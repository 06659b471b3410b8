"""What the first appliance's outside port is plugged into, as a person chose it for one run.

answers    a socket of this process, behind which a small internet answers; the default, and the same on every host
user       QEMU's user network: connections become connections of this user's, without root
tap:NAME   a tap interface of the host, made and given to this user by somebody who may (ip-tuntap(8))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_interface
from typing import Final

from vafw.errors import UsageError
from vafw.plan.plan import Plan
from vafw.trace import Value
from vafw.traffic.appliance import OUTSIDE

_TAP: Final = "tap:"


class UplinkKind(StrEnum):
    """The ways."""

    ANSWERS = "answers"
    USER = "user"
    TAP = "tap"


@dataclass(frozen=True, slots=True)
class Uplink:
    """One run's uplink."""

    kind: UplinkKind = UplinkKind.ANSWERS
    tap: str = ""
    """The interface, where it is one."""

    @classmethod
    def parse(cls, text: str | None) -> Uplink:
        """What `--wire` says; UsageError where it is none of the ways."""
        if text is None:
            return cls()
        if text == UplinkKind.USER:
            return cls(UplinkKind.USER)
        if text.startswith(_TAP) and text != _TAP and "," not in text:
            return cls(UplinkKind.TAP, text.removeprefix(_TAP))
        raise UsageError(f"--wire must be user or tap:NAME on the QEMU platform, not {text!r}")

    def backend(self, plan: Plan) -> str:
        """QEMU's network backend of that kind, with its options; nothing for `answers`, which is a link like others."""
        if self.kind is UplinkKind.TAP:
            return f"tap,ifname={self.tap},script=no,downscript=no"
        if self.kind is UplinkKind.USER:
            network, gateway = _user_network(plan)
            return f"user,ipv4=on,ipv6=off,net={network},host={gateway}"
        return ""


def require_wires(plan: Plan, functions: Iterable[str]) -> None:
    """UsageError where a network function is named that leads nowhere."""
    for each in functions:
        if each not in plan.feeds():
            raise UsageError(f"a wire must be that of {' or '.join(plan.feeds())}, not of {each!r}")


def _user_network(plan: Plan) -> tuple[str, str]:
    """The IPv4 network that the wire is of, and its gateway there, in whose place QEMU answers.

    It is the router's outside where the first hop is one, and the user OS's own where all hops are transparent.
    """
    who, config = _on_the_wire(plan)
    addresses = [ip_interface(each) for each in _texts(config.get("addresses"))]
    networks = [each.network for each in addresses if each.version == 4]
    gateways = [each for each in map(ip_address, _texts(config.get("gateway"))) if each.version == 4]
    if not networks or not gateways:
        raise UsageError(f"{who} must have an IPv4 address and a gateway for --wire user to stand in for it")
    return str(networks[0]), str(gateways[0])


def _on_the_wire(plan: Plan) -> tuple[str, Mapping[str, Value]]:
    """Whose addresses the wire sees, and what they are."""
    for hop in plan.path[1:-1]:
        router = plan.vm(hop).config.get("router")
        outside = router.get(OUTSIDE) if isinstance(router, dict) else None
        if isinstance(outside, dict):
            return f"the outside of {hop}", outside
    return "the user OS", plan.vm(plan.path[-1]).config


def _texts(value: Value | None) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
