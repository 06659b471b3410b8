"""A firewall as a guest: the policy's ruleset, enforced by the guest's own kernel between its two ports.

    ruleset ─▶ nft -c ─▶ nft, one transaction ─▶ first: ports up
                                              └▶ later: forget denied connections ─▶ flow table, where there is one

Whether the ports are joined by a bridge or by a router, which the topology says, is `bridging`'s and `routing`'s. The
order is what keeps it closed: the table is loaded before a port carries anything, and a new table replaces the old one
in one transaction, so that each packet meets one of them whole. A table that the kernel refuses changes nothing.

The hard part is a connection that is open when the rules change. A kernel goes on passing what it has tracked; so each
tracked connection whose first packet the new rules would not accept is forgotten, before anybody is told that they are
in force. While that lasts there is no flow table: a flow in it would be passed without any rule being asked, and 6.1
does not forget such a connection.

Host names are followed by this process: it reads at `inside` what the DNS filter behind says of them, beside the frames
that the kernel carries, and puts the addresses into the kernel's sets (`named_sets`). What is known of a name that the
next rules speak of too is in their sets from their first moment.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, final

from vafw.provider.qemu.guest import interfaces, packets
from vafw.provider.qemu.guest.named_sets import NamedSets
from vafw.provider.qemu.guest.packets import Listen
from vafw.trace import Value
from vafw.traffic.appliance import INSIDE
from vafw.traffic.name_notice import ETHERTYPE, GROUP, heard
from vafw.traffic.nftables.table import Table
from vafw.traffic.rule import Ruleset

_NFT: Final = "/usr/sbin/nft"
_TIMEOUT_S: Final = 30
_NOTICE: Final = int.from_bytes(ETHERTYPE, "big")
_BATCH: Final = 256
"""Notices that are put into one transaction at most."""


@dataclass(slots=True)
class Count:
    """Packets and bytes."""

    packets: int = 0
    bytes: int = 0

    def add(self, counter: Mapping[str, int]) -> None:
        """Add what a counter of the kernel's says."""
        self.packets += counter["packets"]
        self.bytes += counter["bytes"]


class Way(Protocol):
    """What joins the two ports."""

    closed: frozenset[tuple[str, str]]
    """Tables and chains that must be there, and drop what no rule of theirs lets pass."""

    def accepts(self, config: Mapping[str, Value]) -> None:
        """ValueError where a later configuration wants another way."""
        ...

    def table(self, ruleset: Ruleset) -> Table:
        """The rules as the kernel takes them; ValueError says what of them it cannot."""
        ...

    def guard(self) -> str:
        """Text for ``nft -f`` of what holds whatever the rules are; empty where there is no such thing."""
        ...

    def join(self) -> None:
        """Let the ports carry frames; the table is in force."""
        ...

    def due_in_s(self) -> float | None:
        """Seconds until it is to do something though nobody asks; None where it never does."""
        ...

    def act(self) -> None:
        """Do it."""
        ...

    def fault(self) -> str:
        """Why it carries nothing, or more than it may; empty where it does as it should."""
        ...

    def forget_denied(self, ruleset: Ruleset) -> int:
        """Forget the connections that these rules would not accept; how many there were."""
        ...

    def report(self, ruleset: Ruleset) -> Mapping[str, Value]:
        """What there is to say besides the rules' counters."""
        ...


@final
class Filter:
    """The kernel's filter between `outside` and `inside`, and further ports outside where a router has them."""

    def __init__(self, ports: tuple[str, ...], listen: Listen, log: Callable[[str], None]) -> None:
        interfaces.keep_silent()
        self.ports = ports
        self._listen = listen
        self._log = log
        self._way: Way | None = None
        self._ruleset: Ruleset | None = None
        self._names: NamedSets | None = None
        self._notices: socket.socket | None = None
        self._told: Counter[str] = Counter()

    def configure(self, config: Mapping[str, Value]) -> tuple[bool, str]:
        """Enforce `config["ruleset"]` from now on; where the kernel refuses it, the old one stays in force."""
        try:
            ruleset = Ruleset.from_config(config["ruleset"])
            way = self._way_of(config)
            whole, slow = way.table(ruleset), way.table(replace(ruleset, offload=False))
            names = self._names.followed_by(ruleset, whole) if self._names else NamedSets(ruleset, whole)
            _nft("-c", "-f", "-", text=way.guard() + whole.text())
            table = (slow if self._way else whole).text()
            _nft("-f", "-", text=way.guard() + table + names.whole(time.monotonic()))
        except (KeyError, ValueError) as error:
            return False, f"the ruleset cannot be read: {error}"
        except subprocess.CalledProcessError as error:
            return False, f"nft refuses the ruleset: {error.stderr.strip().splitlines()[0]}"
        self._ruleset, self._names = ruleset, names
        if self._way is None:
            self._way = way
            way.join()
            self._notices = packets.open_filtered(INSIDE, packets.only_ethertype(_NOTICE), GROUP)
            self._listen(self._notices, self._learn)
        else:
            way.forget_denied(ruleset)
            if edit := whole.edit_from(slow):
                _nft("-f", "-", text=edit)
        return self.probe()

    def due_in_s(self) -> float | None:
        """Seconds until something is to be done though nobody asks; None where nothing is."""
        return None if self._way is None else self._way.due_in_s()

    def act(self) -> None:
        """Do it."""
        if self._way is not None:
            self._way.act()

    def probe(self) -> tuple[bool, str]:
        """Whether the kernel holds the table, with policy drop and every rule, and the ports are joined."""
        if self._ruleset is None or self._way is None:
            return False, "no ruleset was loaded yet"
        listed = _listed()
        chains = [each["chain"] for each in listed if "chain" in each]
        closed = {(each["table"], each["name"]) for each in chains if each.get("policy") == "drop"}
        lacking = [f"the closed chain {name} of {table}" for table, name in sorted(self._way.closed - closed)]
        counters = {str(each["counter"]["name"]) for each in listed if "counter" in each}
        lacking += [rule.name for rule in self._ruleset.rules if f"rule-{rule.name}" not in counters]
        if lacking:
            return False, f"the kernel must hold every table whole, and lacks {', '.join(lacking)}"
        fault = self._way.fault()
        name = type(self._way).__name__.lower()
        return not fault, fault or f"nftables holds {len(self._ruleset.rules)} rules, policy drop, and the {name} is up"

    def report(self) -> Mapping[str, Value]:
        """Packets and bytes by rule, and by reason that is none, as the kernel counted them."""
        if self._ruleset is None or self._way is None:
            return {}
        listed = _listed()
        return {
            "enforced-by": "nftables",
            "rules": _counted(listed),
            **self._about_names(listed),
            **self._way.report(self._ruleset),
        }

    def _learn(self) -> None:
        """Take all that is waiting of what is said about names, in one transaction, and say that it is in force."""
        names, notices = self._names, self._notices
        if names is None or notices is None:
            return
        now_s, read = time.monotonic(), []
        for frame in packets.waiting(notices, _BATCH):
            if names.learn(frame, now_s):
                read.append(frame)
            else:
                self._told["malformed"] += 1
        if edit := names.edit(now_s):
            try:
                _nft("-f", "-", text=edit)
            except subprocess.CalledProcessError:  # an element that was to be prolonged has ended meanwhile
                _nft("-f", "-", text=names.anew(now_s))
        for frame in read:
            notices.send(heard(frame))
        self._told["read"] += len(read)

    def _about_names(self, listed: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
        """What each name stands for, and what came of the notices; nothing where no rule speaks of a name."""
        sets = {
            each["set"]["name"]: [element["elem"] for element in each["set"].get("elem", ())]
            for each in listed
            if "set" in each
        }
        if self._names is None or self._notices is None or not sets:
            return {}
        self._told["lost"] += packets.lost(self._notices)
        told: dict[str, Value] = {key: self._told[key] for key in ("read", "malformed", "lost")}
        return {"names": self._names.report(sets), "notices": told}

    def _way_of(self, config: Mapping[str, Value]) -> Way:
        """The way there is, or the first one that a configuration asks for."""
        if self._way is not None:
            self._way.accepts(config)
            return self._way
        if "router" in config:
            from vafw.provider.qemu.guest.routing import Router  # deferred: a bridge needs nothing of it

            return Router(config["router"], self._listen, self._log)
        from vafw.provider.qemu.guest.bridging import Bridge

        return Bridge()


def _listed() -> list[dict[str, Any]]:
    """All that the kernel holds, as nft's JSON schema has it (libnftables-json(5))."""
    listed: list[dict[str, Any]] = json.loads(_nft("-j", "list", "ruleset"))["nftables"]
    return listed


def _counted(listed: Sequence[Mapping[str, Any]]) -> dict[str, Value]:
    """Packets and bytes by the names of counters, and by the comments of statements that count by themselves."""
    found: dict[str, Count] = {}
    for each in listed:
        if "counter" in each:
            name = str(each["counter"]["name"]).removeprefix("rule-")
            found.setdefault(name, Count()).add(each["counter"])
        for part in each.get("rule", {}).get("expr", ()):
            if isinstance(counter := part.get("counter"), dict) and "comment" in each["rule"]:
                found.setdefault(each["rule"]["comment"], Count()).add(counter)
    return {name: {"packets": count.packets, "bytes": count.bytes} for name, count in found.items()}


def _nft(*words: str, text: str | None = None) -> str:
    done = subprocess.run([_NFT, *words], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    return done.stdout
