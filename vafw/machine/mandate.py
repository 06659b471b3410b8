"""What a guest that runs its own configuration agent is given when it boots.

Not what the agent is told later: that comes over its own connection to the broker. A platform reads `config` and
`broker`, and passes `agent` on unread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from vafw.trace import Value


@dataclass(frozen=True, slots=True)
class Mandate:
    """For one boot of one VM."""

    config: Mapping[str, Value]
    """The configuration that the VM is to have until its agent takes another one."""
    broker: tuple[str, int]
    """Host and port, on this host, that the agent is to reach, and nothing else."""
    agent: Mapping[str, Value] = field(repr=False)
    """What the agent's program is started with; there is a secret in it."""


Mandates = Callable[[], Awaitable[Mandate]]
"""Asked at each boot: what was last in force is not what it was at the first one."""
