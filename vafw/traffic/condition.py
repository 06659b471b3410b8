"""What a rule may depend on besides the packet: how many came lately, and what time it is.

A rule with one of these may let a packet that it matches go on to the next rule. A proof must therefore follow both
ways; `Rule.is_conditional` says where. Neither reads a clock: the time comes in with each packet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

UNITS_S: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
DEFAULT_BURST: Final = 5
"""Packets that may come at once where a limit says nothing, as in nftables."""
MOST_PER_UNIT: Final = 1_000_000_000
_LIMIT: Final = re.compile(r"([0-9]{1,10})/(second|minute|hour|day|week)(?: burst ([0-9]{1,6}))?")

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
DAY_S: Final = 86400
CLOCK_IS_SET_AFTER_S: Final = 1_577_836_800
"""1 January 2020: a computer that says it is earlier has not been told the time."""
_EPOCH_WEEKDAY: Final = 3
"""1 January 1970 was a Thursday."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many packets in a unit of time; what is more goes on to the next rule.

    A token bucket as in nftables: it begins full with `burst` packets and gains one each `unit / packets`. To a proof,
    a rule with a limit decides on each of its packets or on none of them: both happen.
    """

    packets: int
    unit: str
    """One of `UNITS_S`."""
    burst: int = DEFAULT_BURST

    def __post_init__(self) -> None:
        """Refuse a limit that lets nothing through, or that no kernel could hold."""
        if self.unit not in UNITS_S or not 1 <= self.packets <= MOST_PER_UNIT or not self.burst >= 1:
            raise ValueError(f"a limit must be like 10/second or 3/minute burst 6, not {self}")

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read ``10/second`` or ``3/minute burst 6``; ValueError says what was expected."""
        found = _LIMIT.fullmatch(text)
        if not found:
            raise ValueError(f"a limit must be like 10/second or 3/minute burst 6, not {text!r}")
        return cls(int(found[1]), found[2], int(found[3]) if found[3] else DEFAULT_BURST)

    @property
    def cost_ns(self) -> int:
        """Nanoseconds that one packet costs."""
        return UNITS_S[self.unit] * 1_000_000_000 // self.packets

    def __str__(self) -> str:
        return f"{self.packets}/{self.unit} burst {self.burst}"


class Bucket:
    """A limit at work: how much of it is left."""

    def __init__(self, limit: Limit) -> None:
        self._cost_ns = limit.cost_ns
        self._most_ns = limit.cost_ns * limit.burst
        self._left_ns = self._most_ns
        self._last_ns: int | None = None

    def take(self, now_s: float) -> bool:
        """Whether one more packet is within the limit; it counts only if it is."""
        now_ns = round(now_s * 1e9)
        if self._last_ns is not None:
            self._left_ns = min(self._most_ns, self._left_ns + max(0, now_ns - self._last_ns))
        self._last_ns = now_ns
        if self._left_ns < self._cost_ns:
            return False
        self._left_ns -= self._cost_ns
        return True


@dataclass(frozen=True, slots=True)
class Schedule:
    """A time of day on days of the week, in UTC; outside of it the rule is not asked.

    Where the clock has not been set, nobody knows: then a rule that accepts is not asked and any other is, so that a
    computer that lost its time is closed. To a proof the rule may be asked or not, whatever the time is.
    """

    days: tuple[str, ...] = DAYS
    """Days of the week on which the window begins."""
    start_s: int = 0
    """Seconds after midnight at which it begins."""
    end_s: int = DAY_S
    """Seconds after midnight before which it ends; not more than `start_s`: on the day after."""

    def __post_init__(self) -> None:
        """Refuse days that there are not, and a window without any."""
        if not self.days or any(day not in DAYS for day in self.days):
            raise ValueError(f"days must be some of {', '.join(DAYS)}, not {', '.join(self.days) or 'none'}")
        if not (0 <= self.start_s < DAY_S and 0 < self.end_s <= DAY_S):
            raise ValueError("a time of day must lie within 00:00 and 24:00")

    def holds(self, wall_s: float, *, accepts: bool) -> bool:
        """Whether a rule that accepts (or not) is asked at `wall_s` seconds after 1 January 1970, UTC."""
        if wall_s < CLOCK_IS_SET_AFTER_S:
            return not accepts
        day, second = divmod(int(wall_s), DAY_S)
        if self.start_s < self.end_s:
            return self._on(day) and self.start_s <= second < self.end_s
        return (self._on(day) and second >= self.start_s) or (self._on(day - 1) and second < self.end_s)

    def within_days(self) -> tuple[Schedule, ...]:
        """The same as windows that end on the day on which they begin: one over midnight is two."""
        if self.start_s < self.end_s:
            return (self,)
        later = tuple(day for at, day in enumerate(DAYS) if DAYS[at - 1] in self.days)
        return Schedule(self.days, self.start_s, DAY_S), Schedule(later, 0, self.end_s)

    def _on(self, day: int) -> bool:
        return DAYS[(day + _EPOCH_WEEKDAY) % 7] in self.days

    def __str__(self) -> str:
        days = ", ".join(self.days) if self.days != DAYS else "every day"
        return f"{days} {clock_time(self.start_s)}-{clock_time(self.end_s)} UTC"


def parse_time(text: str) -> int:
    """Seconds after midnight of ``08:30`` or ``24:00``; ValueError says what was expected."""
    if text == "24:00":
        return DAY_S
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(f"a time of day must be like 08:30, from 00:00 to 24:00, not {text!r}")
    return int(found[1]) * 3600 + int(found[2]) * 60


def clock_time(seconds: int) -> str:
    """What `parse_time` reads."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"
