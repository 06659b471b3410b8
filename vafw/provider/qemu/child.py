"""Children of this process that do not outlive it, however it ends.

`setpriv --pdeathsig` (util-linux) has the kernel kill the child when its parent is gone (prctl(2), PR_SET_PDEATHSIG): a
supervisor that was killed leaves no VM behind that nobody watches.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def bound_to_this_process(*arguments: str) -> list[str]:
    """A command line whose process ends when this one does."""
    return [*(("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()), *arguments]


def sealed(name: str, data: bytes) -> int:
    """A descriptor of memory that holds `data` and can be changed by nobody any more (memfd_create(2))."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


def path_of(descriptor: int) -> str:
    """The name by which a child that inherits a descriptor opens it."""
    return f"/proc/self/fd/{descriptor}"


async def ended(pid: int) -> None:
    """Return when a child of this process has ended (pidfd_open(2)); at once where it has already."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
