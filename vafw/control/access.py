"""What a client needs to be let in by a broker, as plain text: it can be handed to an agent that runs elsewhere.

Not a certificate's making (`certificates`). It holds secrets: whoever has it is the client.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vafw.control.bus import MqttLine
from vafw.trace import Value


@dataclass(frozen=True, slots=True)
class Access:
    """One client's: a certificate and its key for a broker with TLS, or a password for one on loopback alone."""

    identity: str
    authority: str = ""
    """PEM, as the two below."""
    certificate: str = ""
    key: str = ""
    password: str = ""

    @classmethod
    def from_json(cls, fields: Mapping[str, Value]) -> Access:
        """The inverse of `to_json`; TypeError for a field that there is not."""
        return cls(**{name: str(value) for name, value in fields.items()})

    def to_json(self) -> dict[str, Value]:
        """Its fields."""
        return asdict(self)

    def line(self, host: str, port: int, *, patience_s: float) -> MqttLine:
        """A line to a broker that is reached at `host` and `port`, which may be a relay's."""
        if not self.certificate:
            return MqttLine(
                host, port, self.identity, user=self.identity, password=self.password, patience_s=patience_s
            )
        return MqttLine(host, port, self.identity, tls=self._context(), patience_s=patience_s)

    def _context(self) -> ssl.SSLContext:
        """TLS 1.3 with a certificate of our own; it must lie in a file for as long as it is read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=self.authority)
        with tempfile.TemporaryDirectory() as folder:
            chain = Path(folder, "client.pem")
            chain.touch(mode=0o600)
            chain.write_text(self.certificate + self.key, encoding="ascii")
            context.load_cert_chain(chain)
        return context
