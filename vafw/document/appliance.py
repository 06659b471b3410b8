"""The appliance manifest: what an appliance is, and all it is allowed to use; what is absent is not allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from vafw.document.model import DocumentModel, Head, Name, Size, as_json, text_of_form

FileName = Annotated[
    str,
    *text_of_form(
        r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", "VAFW-D008", "must be the name of a file in this folder, such as guest.py"
    ),
]
"""A file of the appliance's own folder."""


class ConfigOption(DocumentModel):
    """One setting that a topology may give."""

    type: Literal["string", "integer", "boolean", "addresses", "names", "files"]
    """What it holds; ``files`` are read, relative to the topology, when the plan is compiled."""
    summary: str
    """What it is for, in one sentence."""
    default: Annotated[Any, AfterValidator(as_json)] = None
    """What holds where a topology says nothing."""


class Appliance(Head):
    """One folder with a program that becomes a headless VM (or the user OS)."""

    kind: Literal["appliance"]
    """The kind of document."""
    summary: str
    """What it is for, in one sentence."""
    role: Literal["appliance", "user-os"] = "appliance"
    """Whether it is an appliance in the path or the VM that a person sits at."""
    program: FileName = "guest.py"
    """The program that the model platform runs, a file of this folder."""
    ports: tuple[Name, ...] = ("outside", "inside")
    """Its network ports: ``outside`` faces the wire, ``inside`` the user."""
    assign: tuple[Literal["network", "display", "storage", "usb", "audio", "other"], ...] = ()
    """Classes of device that may be assigned to it."""
    enforces: tuple[Literal["traffic", "dns", "ids", "vpn", "proxy"], ...] = ()
    """Parts of a policy that it can enforce."""
    secret: bool = False
    """Whether its platform keeps 32 random bytes for it, which its program finds under ``secret`` in its settings."""
    minimum_memory: Size = 64 * 1024 * 1024
    """The least memory it runs in."""
    config: dict[Name, ConfigOption] = Field(default_factory=dict)
    """Settings that a topology may give."""
