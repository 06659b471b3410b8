"""`python -m vafw.provider.qemu.build`: builds the base of every guest, and says what it came to."""

from __future__ import annotations

import json
import sys

from vafw.errors import VafwError
from vafw.provider.qemu.base import build_base


def main() -> int:
    """Build; the exit code."""
    try:
        folder = build_base()
    except VafwError as error:
        print(f"images/build: {error.message}" + (f"\n  {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    description = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    print(f"{folder}: kernel {description['kernel'][:16]}, initramfs {description['initramfs'][:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
