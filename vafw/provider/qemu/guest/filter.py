"""A firewall as a guest: the policy's ruleset, enforced by the guest's own kernel between two ports of a bridge.

The bridge has no address and the guest says nothing of its own on the path. The order is what keeps it closed: the
table is loaded before a port joins the bridge, and a new table replaces the old one in one transaction, so that each
packet meets one of them whole. A table that the kernel refuses changes nothing.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from vafw.provider.qemu.guest import interfaces
from vafw.trace import Value
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.nftables.rendering import nftables_text
from vafw.traffic.rule import Ruleset

_NFT: Final = "/usr/sbin/nft"
_BRIDGE: Final = "path"
_TABLE: Final = ("bridge", "vafw")
_TIMEOUT_S: Final = 30


@final
class Filter:
    """The kernel's filter between `outside` and `inside`."""

    ports = (OUTSIDE, INSIDE)

    def __init__(self) -> None:
        interfaces.load_modules("filter")
        interfaces.keep_silent()
        self._ruleset: Ruleset | None = None

    def configure(self, config: Mapping[str, Value]) -> tuple[bool, str]:
        """Enforce `config["ruleset"]` from now on; where the kernel refuses it, the old one stays in force."""
        if "router" in config:
            return False, "this guest passes frames on as they are, and the topology wants a router"
        try:
            ruleset = Ruleset.from_config(config["ruleset"])
            _nft("-f", "-", text=nftables_text(ruleset, inside=INSIDE, outside=OUTSIDE, family="bridge"))
        except (KeyError, ValueError) as error:
            return False, f"the ruleset cannot be read: {error}"
        except subprocess.CalledProcessError as error:
            return False, f"nft refuses the ruleset: {error.stderr.strip().splitlines()[0]}"
        first, self._ruleset = self._ruleset is None, ruleset
        if first:
            _bridge_the_ports()
        return self.probe()

    def probe(self) -> tuple[bool, str]:
        """Whether the kernel holds the table, with policy drop and every rule, and the bridge joins both ports."""
        if self._ruleset is None:
            return False, "no ruleset was loaded yet"
        listed = _listed()
        chains = [each["chain"] for each in listed if "chain" in each]
        policies = {str(chain.get("policy")) for chain in chains if chain.get("name") == "forward"}
        counters = {str(each["counter"]["name"]) for each in listed if "counter" in each}
        missing = [rule.name for rule in self._ruleset.rules if f"rule-{rule.name}" not in counters]
        joined = {each.name for each in Path("/sys/class/net", _BRIDGE, "brif").iterdir()}
        if policies != {"drop"} or missing:
            return False, f"the kernel must hold the table whole, and lacks {', '.join(missing) or 'its policy'}"
        if joined != {INSIDE, OUTSIDE}:
            return False, "the bridge must join both ports"
        return True, f"nftables holds {len(self._ruleset.rules)} rules, policy drop, and the bridge is up"

    def report(self) -> Mapping[str, Value]:
        """Packets and bytes by rule, as the kernel counted them."""
        counted = [each["counter"] for each in _listed() if "counter" in each]
        rules: dict[str, Value] = {
            str(each["name"]).removeprefix("rule-"): {"packets": each["packets"], "bytes": each["bytes"]}
            for each in counted
        }
        return {"enforced-by": "nftables", "rules": rules}


def _bridge_the_ports() -> None:
    interfaces.run("brctl", "addbr", _BRIDGE)
    for setting, value in (("stp_state", "0"), ("forward_delay", "0"), ("multicast_snooping", "0")):
        interfaces.write(f"/sys/class/net/{_BRIDGE}/bridge/{setting}", value)
    for port in (OUTSIDE, INSIDE):
        interfaces.run("brctl", "addif", _BRIDGE, port)
        interfaces.up(port)
    interfaces.up(_BRIDGE)


def _listed() -> list[dict[str, dict[str, Value]]]:
    listed: list[dict[str, dict[str, Value]]] = json.loads(_nft("-j", "list", "table", *_TABLE))["nftables"]
    return listed


def _nft(*words: str, text: str | None = None) -> str:
    done = subprocess.run([_NFT, *words], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    return done.stdout
