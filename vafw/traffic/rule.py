"""What a firewall is told: rules in order, each a set of packets and an action, and a default.

Plain values that know how to match one packet and how to travel as JSON (`Ruleset.to_config`). The policy document
compiles to this; the engine, the proofs and the nftables text all start from it and must agree:

- rules are asked in order; `log` and `mark` do their work and the next rule is asked, every other action decides;
- a rule is asked about packets of its `states`, which is ``new`` where a policy says nothing. What no rule decides on
  passes if it is established or related, is dropped if it is invalid, and is the default's if it is new;
- a rule with a limit, a schedule or host names is conditional: a packet it speaks of may also go on to the next rule.

Neighbour discovery and ARP are not traffic in this sense: no rule speaks of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vafw.trace import Value
from vafw.traffic import config
from vafw.traffic.address_set import AddressSet, Ranges, in_ranges
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.condition import DAYS, Limit, Schedule, clock_time, parse_time
from vafw.traffic.host_name import name_pattern
from vafw.traffic.nat import Nat
from vafw.traffic.packet import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, Packet, ServiceMatch, suits
from vafw.traffic.reason import State

__all__ = [
    "ICMP", "ICMPV6", "PROTOCOL_NAMES", "TCP", "UDP", "Action", "AddressSet", "Limit", "Nat", "Packet", "Rule",
    "Ruleset", "Schedule", "Selector", "ServiceMatch", "State", "suits",
]  # fmt: skip

RULE_STATES: Final = (State.NEW, State.ESTABLISHED, State.RELATED, State.INVALID)
"""States that a rule may speak of, in the order in which they are written."""
MOST_MARK: Final = 0xFFFFFFFF
_SIDES: Final = (INSIDE, OUTSIDE)
_NEW_ONLY: Final = (State.NEW,)


class Action(StrEnum):
    """What a rule does with a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    LOG = "log"
    """Write a line and ask the next rule."""
    MARK = "mark"
    """Mark the packet's connection and ask the next rule."""

    @property
    def is_final(self) -> bool:
        """Whether it decides, so that no other rule is asked."""
        return self is not Action.LOG and self is not Action.MARK


@dataclass(frozen=True, slots=True)
class Selector:
    """A zone as the firewall sees it."""

    side: str | None
    """``inside``: the packet comes from (as source) or goes to (as destination) the user's side; None: either."""
    addresses: AddressSet
    """Addresses of the zone; where it has names, the addresses that these may come to stand for."""
    names: tuple[str, ...] = ()
    """Host names such as ``*.example.com``: of `addresses`, only those that DNS answers have given for one of them and
    that have not expired. To a proof: any of `addresses`, or none."""

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads."""
        plain: dict[str, Value] = {"side": self.side, "addresses": list(self.addresses.to_texts())}
        return plain | {"names": list(self.names)} if self.names else plain

    @classmethod
    def from_config(cls, value: Value, where: str) -> Selector:
        """Read `to_config`'s JSON; ValueError names the place in `where`."""
        entry = config.mapping(value, where, {"side", "addresses", "names"})
        side = entry.get("side")
        return cls(
            None if side is None else config.choice(side, f"{where}.side", _SIDES),
            config.addresses(entry.get("addresses"), f"{where}.addresses"),
            tuple(name_pattern(each) for each in config.texts(entry.get("names", []), f"{where}.names")),
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: matches a packet when its state, its VLAN, a source, a destination and a service of it do."""

    name: str
    """What logs and reports call it."""
    sources: tuple[Selector, ...]
    """Where the packet may come from."""
    destinations: tuple[Selector, ...]
    """Where it may go."""
    services: tuple[ServiceMatch, ...]
    """What it may be; empty: every service."""
    action: Action
    """What happens to a packet that matches."""
    log: bool = False
    """Whether each packet it matches is logged."""
    states: tuple[State, ...] = _NEW_ONLY
    """What the packet may be to the connections: some of `RULE_STATES`."""
    limit: Limit | None = None
    """How many packets it matches in a time; what is more goes on to the next rule."""
    schedule: Schedule | None = None
    """When it is asked; None: always."""
    vlans: Ranges = ()
    """Ids of the outermost VLAN tag, 0 for none; empty: any. VLANs are separate networks to the connections too."""
    mark: int | None = None
    """What the packet and its connection are marked with; for routing and for who counts, no verdict depends on it."""

    def __post_init__(self) -> None:
        """Refuse what would mean nothing or what no kernel could do safely."""
        if not self.states or any(state not in RULE_STATES for state in self.states):
            raise ValueError(f"states of '{self.name}' must be some of {', '.join(RULE_STATES)}")
        if State.INVALID in self.states and self.action in (Action.ACCEPT, Action.REJECT):
            raise ValueError(f"'{self.name}' must not {self.action} invalid packets: no answer to them can be right")
        if (self.mark is None) == (self.action is Action.MARK):
            raise ValueError(f"'{self.name}' must have a mark exactly if its action is mark")
        if self.mark is not None and not 0 < self.mark <= MOST_MARK:
            raise ValueError(f"the mark of '{self.name}' must lie within 1 and {MOST_MARK}")

    @property
    def is_conditional(self) -> bool:
        """Whether a packet that matches may also go on to the next rule: by a limit, a schedule or host names."""
        if self.limit is not None or self.schedule is not None:
            return True
        for selectors in (self.sources, self.destinations):  # loops: every rule of a long list is asked
            for each in selectors:
                if each.names:
                    return True
        return False

    def matches(self, packet: Packet) -> bool:
        """Whether the rule speaks of this packet; a conditional one may still let it go on."""
        goes_to = opposite(packet.side)
        return (
            packet.state in self.states
            and (not self.vlans or in_ranges(self.vlans, packet.vlan))
            and any(
                each.side in (None, packet.side) and each.addresses.contains(packet.version, packet.source)
                for each in self.sources
            )
            and any(
                each.side in (None, goes_to) and each.addresses.contains(packet.version, packet.destination)
                for each in self.destinations
            )
            and (not self.services or any(each.matches(packet) for each in self.services))
        )

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads; what is as usual is left out."""
        plain: dict[str, Value] = {
            "name": self.name,
            "from": [each.to_config() for each in self.sources],
            "to": [each.to_config() for each in self.destinations],
            "services": [each.to_config() for each in self.services],
            "action": self.action.value,
            "log": self.log,
        }
        if self.states != _NEW_ONLY:
            plain["states"] = [state.value for state in self.states]
        if self.limit is not None:
            plain["limit"] = str(self.limit)
        if self.schedule is not None:
            plain["schedule"] = {
                "days": list(self.schedule.days),
                "from": clock_time(self.schedule.start_s),
                "until": "24:00" if self.schedule.end_s == 86400 else clock_time(self.schedule.end_s),
            }
        if self.vlans:
            plain["vlans"] = [f"{low}-{high}" if low != high else f"{low}" for low, high in self.vlans]
        return plain | ({} if self.mark is None else {"mark": self.mark})

    @classmethod
    def from_config(cls, value: Value, where: str) -> Rule:
        """Read `to_config`'s JSON; ValueError names the place in `where`."""
        entry = config.mapping(value, where, _RULE_KEYS)

        def each(key: str) -> list[tuple[Value, str]]:
            items = config.sequence(entry.get(key, []), f"{where}.{key}")
            return [(item, f"{where}.{key}[{at}]") for at, item in enumerate(items)]

        limit, schedule, mark = entry.get("limit"), entry.get("schedule"), entry.get("mark")
        return cls(
            config.text(entry.get("name"), f"{where}.name"),
            tuple(Selector.from_config(*item) for item in each("from")),
            tuple(Selector.from_config(*item) for item in each("to")),
            tuple(ServiceMatch.from_config(*item) for item in each("services")),
            Action(config.choice(entry.get("action"), f"{where}.action", tuple(Action))),
            config.boolean(entry.get("log", False), f"{where}.log"),
            tuple(State(config.choice(*item, RULE_STATES)) for item in each("states")) or _NEW_ONLY,
            None if limit is None else Limit.parse(config.text(limit, f"{where}.limit")),
            None if schedule is None else _schedule(schedule, f"{where}.schedule"),
            tuple(config.port_range(*item) for item in each("vlans")),
            None if mark is None else config.integer(mark, f"{where}.mark", 1, MOST_MARK),
        )


_RULE_KEYS: Final = frozenset(
    {"name", "from", "to", "services", "action", "log", "states", "limit", "schedule", "vlans", "mark"}
)


def _schedule(value: Value, where: str) -> Schedule:
    entry = config.mapping(value, where, {"days", "from", "until"})
    days = config.texts(entry.get("days", list(DAYS)), f"{where}.days")
    start, end = (config.text(entry.get(key), f"{where}.{key}") for key in ("from", "until"))
    return Schedule(days, parse_time(start), parse_time(end))


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Rules in order: the first that matches and decides is it, else the default."""

    rules: tuple[Rule, ...]
    """The rules."""
    default: Action
    """What happens to a packet that no rule matches; never accept."""
    inside: AddressSet | None = None
    """Source addresses the inside may use; a packet from the inside with another is dropped. None: any."""
    nat: Nat = Nat()  # noqa: RUF009  # a frozen value
    """What is translated, by a firewall in routed mode."""
    offload: bool = False
    """Whether a kernel may pass established TCP and UDP by its flow table, past all rules; changes no verdict, because
    it is refused where a rule speaks of established packets."""

    def __post_init__(self) -> None:
        """Refuse a default that lets through what nobody thought of."""
        if self.default not in (Action.DROP, Action.REJECT):
            raise ValueError(f"the default must be drop or reject, not {self.default}")
        if self.offload and any(State.ESTABLISHED in rule.states for rule in self.rules):
            raise ValueError("offload must be false where a rule speaks of established packets: it would not be asked")

    def first_match(self, packet: Packet) -> Rule | None:
        """The rule that decides on the packet, taken that every condition holds; None: the default does."""
        return next((rule for rule in self.rules if rule.action.is_final and rule.matches(packet)), None)

    def rules_for(self, states: Iterable[State]) -> tuple[Rule, ...]:
        """The rules that speak of packets in one of these states."""
        wanted = frozenset(states)
        return tuple([rule for rule in self.rules if not wanted.isdisjoint(rule.states)])

    def to_config(self) -> dict[str, Value]:
        """Plain JSON that `from_config` reads; what the firewall's program gets as ``ruleset``."""
        plain: dict[str, Value] = {
            "rules": [rule.to_config() for rule in self.rules],
            "default": self.default.value,
            "inside": None if self.inside is None else list(self.inside.to_texts()),
        }
        if self.nat != Nat():
            plain["nat"] = self.nat.to_config()
        return plain | {"offload": True} if self.offload else plain

    @classmethod
    def from_config(cls, value: Value, where: str = "ruleset") -> Ruleset:
        """Read `to_config`'s JSON; ValueError names the place, what must stand there and what does."""
        entry = config.mapping(value, where, {"rules", "default", "inside", "nat", "offload"})
        inside = entry.get("inside")
        refused = (Action.DROP.value, Action.REJECT.value)
        return cls(
            tuple(
                Rule.from_config(each, f"{where}.rules[{at}]")
                for at, each in enumerate(config.sequence(entry.get("rules"), f"{where}.rules"))
            ),
            Action(config.choice(entry.get("default"), f"{where}.default", refused)),
            None if inside is None else config.addresses(inside, f"{where}.inside"),
            Nat.from_config(entry["nat"], f"{where}.nat") if "nat" in entry else Nat(),
            config.boolean(entry.get("offload", False), f"{where}.offload"),
        )
