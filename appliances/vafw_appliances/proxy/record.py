"""What the proxy remembers for people: how many requests came to what, the latest of them, and lines for the log."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, final

from vafw.trace import Value
from vafw_appliances.proxy.decision import Site

LATEST: Final = 50
"""Requests in a report at most."""
MOST_RULES: Final = 200
"""Rules that are counted one by one; refusals by others are counted together, as faults can be worded in many ways."""
MOST_LINES: Final = 64
"""Lines that wait for a frame to be told with; the oldest go first, and the counters know of them."""
OTHER: Final = "(other)"


@final
class Record:
    """Counters and the latest requests."""

    def __init__(self) -> None:
        self.connections = 0
        self.turned_away = 0
        """Connections that there was no room for."""
        self.to_origins = 0
        """Bytes of requests and tunnels that origins have acknowledged."""
        self.to_clients = 0
        """Bytes of answers and tunnels that clients have acknowledged."""
        self._counts: dict[str, Counter[str]] = {key: Counter() for key in ("allowed", "blocked", "refused")}
        self._latest: deque[dict[str, Value]] = deque(maxlen=LATEST)
        self._lines: deque[str] = deque(maxlen=MOST_LINES)

    def allowed(self, method: str, site: Site, rule: str) -> None:
        """A request goes on."""
        self._note("allowed", method, str(site), rule)

    def blocked(self, client: str, method: str, site: Site, rule: str) -> None:
        """A rule keeps a request from going on."""
        self._note("blocked", method, str(site), rule)
        self._lines.append(f"blocked {method} {site} from {client}: {rule}")

    def refused(self, client: str, method: str, site: Site | None, reason: str) -> None:
        """A request is no request, or what it asks for cannot be had."""
        subject = "" if site is None else str(site)
        self._note("refused", method, subject, reason)
        self._lines.append(f"refused {f'{method} {subject}'.strip() or 'a request'} from {client}: {reason}")

    def line(self) -> str:
        """The oldest line that was not told yet; empty where there is none."""
        return self._lines.popleft() if self._lines else ""

    def report(self) -> dict[str, Value]:
        """All of it, as plain JSON."""
        return {
            "connections": self.connections,
            "turned-away": self.turned_away,
            "requests": {key: counts.total() for key, counts in self._counts.items()},
            "blocked": dict(self._counts["blocked"]),
            "refused": dict(self._counts["refused"]),
            "latest": list(self._latest),
            "bytes-to-origins": self.to_origins,
            "bytes-to-clients": self.to_clients,
        }

    def _note(self, verdict: str, method: str, subject: str, rule: str) -> None:
        counts = self._counts[verdict]
        counts[rule if rule in counts or len(counts) < MOST_RULES else OTHER] += 1
        self._latest.append({"method": method, "site": subject, "verdict": verdict, "rule": rule})
