"""Why the VMM refuses: one class, since every caller can do only one thing about it, which is not to go on."""

from __future__ import annotations

from vafw.errors import VafwError


class VmmError(VafwError):
    """The VMM will not do it, and nothing of it was done."""
