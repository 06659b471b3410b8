"""The traffic script: what the user OS does by itself on the model platform, step after step."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from vafw.document.model import DocumentModel, Head, exactly_one, one_required, refusal


class Step(DocumentModel):
    """One thing to do: exactly one of resolve, connect and ping."""

    resolve: str | None = None
    """A host name to look up."""
    connect: str | None = None
    """A host, by name or address, to open a TCP connection to."""
    ping: str | None = None
    """An address to send echo requests to."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The port to connect to."""
    send: str = ""
    """What to send once the connection is open."""
    expect: str = ""
    """Text that the answer must hold for the step to count as done."""

    model_config = one_required("resolve", "connect", "ping")
    _either = model_validator(mode="after")(exactly_one("resolve", "connect", "ping"))

    @model_validator(mode="after")
    def _port_with_connect(self) -> Self:
        """Refuse a connection to no port, and a port of nothing."""
        if (self.connect is None) != (self.port is None):
            raise refusal("VAFW-D016", "must have the keys connect and port together, or neither")
        return self


class TrafficScript(Head):
    """What the user OS does by itself."""

    kind: Literal["traffic-script"]
    """The kind of document."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """The steps, in order."""
