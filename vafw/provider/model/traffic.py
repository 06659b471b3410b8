"""What feeds the modelled machine's two ends, as a person chose it for one run.

capture   a capture file is replayed, its frames by turns at the wire and at the user's side
live      two tap interfaces of the host: real networks at both ends
script    the user OS acts by itself, and a small internet behind the wire answers
idle      nothing is plugged in
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

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
    wire_tap: str = ""
    user_tap: str = ""
    script: tuple[Value, ...] = ()
    date: datetime | None = None
    """What the machine's clock says when the feed begins; None: the capture's time, or the host's."""

    @classmethod
    def choose(
        cls,
        *,
        capture: Path | None = None,
        results: Path | None = None,
        wire: str | None = None,
        user: str | None = None,
        script: tuple[Value, ...] | None = None,
    ) -> Traffic:
        """The feed that the options of a command line ask for; UsageError where they contradict each other."""
        if (wire is None) != (user is None):
            raise UsageError("--wire and --user must be given together: traffic goes from one to the other")
        chosen = [name for name, value in (("--pcap", capture), ("--wire", wire), ("--script", script)) if value]
        if len(chosen) > 1:
            raise UsageError(
                f"only one of --pcap, --wire and --script can feed the machine, not {' and '.join(chosen)}"
            )
        if wire is not None and user is not None:
            return cls(Feed.LIVE, results=results, wire_tap=_tap("--wire", wire), user_tap=_tap("--user", user))
        if capture is not None:
            return cls(Feed.CAPTURE, capture=capture, results=results)
        if script is not None:
            return cls(Feed.SCRIPT, results=results, script=script)
        if results is not None:
            raise UsageError(
                "--pcap-out must be given with something that feeds the machine: --pcap, --wire or --script"
            )
        return cls()

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


def _tap(option: str, value: str) -> str:
    if not value.startswith(_TAP) or value == _TAP:
        raise UsageError(f"{option} must be tap:NAME, not {value!r}")
    return value.removeprefix(_TAP)
