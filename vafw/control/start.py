"""What an agent is started with, as plain JSON: it can be started in another process, or inside a guest.

It holds the agent's key and its way past the broker: whoever has it is the agent. What it obeys, the controller's key
and those of the people who must sign, is in it too, so it must come from whom the agent trusts at that moment, and by
no network.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from vafw.control.access import Access
from vafw.control.agent import Identity, Running, Spent
from vafw.control.envelope import Version
from vafw.machine.authority import Authority
from vafw.trace import Value


@dataclass(frozen=True, slots=True)
class Start:
    """One agent's."""

    identity: Identity = field(repr=False)
    access: Access = field(repr=False)
    running: Running
    """In force already; nothing lower than its version is ever applied."""

    spent: Spent | None = None
    """What must not be tried again, and goes back first where it is in force still."""

    def with_running(self, running: Running, spent: Spent | None) -> Start:
        """The same agent, later."""
        return replace(self, running=running, spent=spent)

    def to_json(self) -> dict[str, Value]:
        """As `from_json` reads it."""
        key = self.identity.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        controller = self.identity.controller.public_bytes(Encoding.Raw, PublicFormat.Raw)
        version = self.running.version
        return {
            "workstation": self.identity.workstation,
            "appliance": self.identity.appliance,
            "key": base64.b64encode(key).decode(),
            "authority": self.identity.authority.to_json() if self.identity.authority else None,
            "controller": base64.b64encode(controller).decode(),
            "access": self.access.to_json(),
            "version": version.to_json() if version is not None else None,
            "digest": self.running.digest,
            "config": dict(self.running.config),
            "spent": {**self.spent.version.to_json(), "reason": self.spent.reason} if self.spent else None,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Start:
        """The inverse of `to_json`; KeyError, TypeError or ValueError for anything else."""
        identity = Identity(
            fields["workstation"],
            fields["appliance"],
            Ed25519PrivateKey.from_private_bytes(base64.b64decode(fields["key"])),
            Ed25519PublicKey.from_public_bytes(base64.b64decode(fields["controller"])),
            Authority.from_json(fields["authority"]) if fields["authority"] is not None else None,
        )
        version = fields["version"]
        known = Version(version["epoch"], version["generation"]) if version is not None else None
        running = Running(known, fields["digest"], fields["config"])
        tried = fields["spent"]
        spent = Spent(Version(tried["epoch"], tried["generation"]), tried["reason"]) if tried is not None else None
        return cls(identity, Access.from_json(fields["access"]), running, spent)
