"""What feeds the modelled machine's two ends, as a person chose it for one run.

capture   a capture file is replayed, its frames by turns at the wire and at the user's side
live      two tap interfaces of the host: real networks at both ends
script    the user OS acts by itself, and a small internet behind the wire answers
idle      nothing is plugged in
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from vafw.document.model import parse_duration
from vafw.errors import UsageError
from vafw.trace import Value

_TAP: Final = "tap:"


class Feed(StrEnum):
    """Where frames come from; the user OS is told in what mode to run."""

    IDLE = "idle"
    CAPTURE = "capture"
    LIVE = "live"
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class Traffic:
    """One run's feed."""

    feed: Feed = Feed.IDLE
    capture: Path | None = None
    results: Path | None = None
    """Where the frames that came out are written, pcapng."""
    wire_taps: Mapping[str, str] = field(default_factory=dict)
    """The tap behind each network function; behind an empty name, that of the path's own."""
    user_tap: str = ""
    script: tuple[Value, ...] = ()
    date: datetime | None = None
    """What the machine's clock says when the feed begins; None: the capture's time, or the host's."""
    unplugged: Mapping[str, float] = field(default_factory=dict)
    """Network functions whose cable is pulled, and when: seconds of the machine's time."""

    @classmethod
    def choose(
        cls,
        *,
        capture: Path | None = None,
        results: Path | None = None,
        wires: Sequence[str] = (),
        user: str | None = None,
        script: tuple[Value, ...] | None = None,
    ) -> Traffic:
        """The feed that the options of a command line ask for; UsageError where they contradict each other."""
        if (not wires) != (user is None):
            raise UsageError("--wire and --user must be given together: traffic goes from one to the other")
        chosen = [name for name, value in (("--pcap", capture), ("--wire", wires), ("--script", script)) if value]
        if len(chosen) > 1:
            raise UsageError(
                f"only one of --pcap, --wire and --script can feed the machine, not {' and '.join(chosen)}"
            )
        if user is not None:
            return cls(Feed.LIVE, results=results, wire_taps=_taps(wires), user_tap=_tap("--user", user))
        if capture is not None:
            return cls(Feed.CAPTURE, capture=capture, results=results)
        if script is not None:
            return cls(Feed.SCRIPT, results=results, script=script)
        if results is not None:
            raise UsageError(
                "--pcap-out must be given with something that feeds the machine: --pcap, --wire or --script"
            )
        return cls()

    def require_wires(self, functions: Collection[str]) -> None:
        """UsageError where a tap or a pulled cable is that of a network function that no wire is plugged into."""
        for name in (*filter(None, self.wire_taps), *self.unplugged):
            if name not in functions:
                raise UsageError(f"a wire must be that of {' or '.join(functions)}, not of {name!r}")

    @property
    def user_mode(self) -> str:
        """The mode in which the user OS runs."""
        return {Feed.CAPTURE: "replay", Feed.LIVE: "bridge"}.get(self.feed, "stack")

    @property
    def has_user_side(self) -> bool:
        """Whether frames enter and leave at the user's side, beside the user OS's own."""
        return self.feed in (Feed.CAPTURE, Feed.LIVE)


def parse_date(text: str) -> datetime:
    """Read what ``--clock`` says, such as ``2026-11-30T09:00Z``; UsageError where it is no date with a time zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--clock must be a date and time, such as 2026-11-30T09:00Z, not {text!r}") from error
    if found.tzinfo is None:
        raise UsageError(f"--clock must name its time zone, such as {text}Z, not {text!r}")
    if not found.astimezone(UTC).year >= 2020:
        raise UsageError(f"--clock must be 2020 or later, not {text!r}: before that, a clock counts as never set")
    return found.astimezone(UTC)


def parse_unplugged(texts: Sequence[str]) -> Mapping[str, float]:
    """Read what ``--unplug`` says, ``nic`` or ``nic@5s``; UsageError where it is neither."""
    found: dict[str, float] = {}
    for text in texts:
        name, at, when = text.partition("@")
        try:
            found[name] = float(str(parse_duration(when))) if at else 0.0
        except ValueError as error:
            raise UsageError(
                f"--unplug must be a network function, or one and a time, such as nic@5s: {error}"
            ) from error
    return found


def _taps(texts: Sequence[str]) -> Mapping[str, str]:
    """``tap:NAME`` for the path's own card, ``backup=tap:NAME`` for another."""
    found: dict[str, str] = {}
    for text in texts:
        function, equals, tap = text.partition("=")
        name, value = (function, tap) if equals else ("", text)
        if name in found:
            raise UsageError(f"--wire must be given once for each network function, not twice for {name or text!r}")
        found[name] = _tap("--wire", value)
    return found


def _tap(option: str, value: str) -> str:
    if not value.startswith(_TAP) or value == _TAP:
        raise UsageError(f"{option} must be tap:NAME, not {value!r}")
    return value.removeprefix(_TAP)
