"""The libraries that few programs of a guest need, TLS and signatures among them: packed, until somebody wants them.

An agent unpacks them when it first starts, so that the guest boots sooner. A program that cannot be imported without
them has them unpacked before the first process becomes Python: its image has `BOOT_SCRIPT`, which init then sources.
"""

from __future__ import annotations

from typing import Final

_UNPACKED: Final = "/run/agent"
UNPACK: Final = f"""\
if ! test -d {_UNPACKED}; then
    rm -rf {_UNPACKED}.new && mkdir {_UNPACKED}.new && cd {_UNPACKED}.new || exit
    gunzip -c /agent.cpio.gz | cpio -i -d && mv {_UNPACKED}.new {_UNPACKED} && rm /agent.cpio.gz || exit
    cd /
fi
"""
"""Commands of busybox's shell; where they have run, `ENVIRONMENT` makes Python find the libraries."""
_PYTHON: Final = ("python3.11", "python3.11/lib-dynload", "python3/dist-packages")
ENVIRONMENT: Final = {
    "PYTHONPATH": ":".join(("/vafw", *(f"{_UNPACKED}/usr/lib/{each}" for each in _PYTHON))),
    "LD_LIBRARY_PATH": f"{_UNPACKED}/usr/lib/x86_64-linux-gnu:{_UNPACKED}/lib/x86_64-linux-gnu",
    "OPENSSL_MODULES": f"{_UNPACKED}/usr/lib/x86_64-linux-gnu/ossl-modules",
    "TMPDIR": "/run",
}
BOOT_SCRIPT: Final = UNPACK + "".join(f"export {name}={value}\n" for name, value in ENVIRONMENT.items())
"""What init sources (`recipe.INIT`) where an image has it."""
