"""What goes into the base of a guest: Debian packages, and which of their files. Names are Debian 12's."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


KERNEL_PACKAGE: Final = "linux-image-cloud-amd64"
PACKAGES: Final = _words("""
    busybox-static nftables python3.11-minimal libpython3.11-minimal libpython3.11-stdlib
    libc6 libexpat1 zlib1g libnftables1 libnftnl11 libmnl0 libxtables12 libjansson4 libgmp10 libedit2 libbsd0 libmd0
    libtinfo6
""")
SHARED_LIBRARIES: Final = _words("""
    libc libm libpthread libdl librt libutil libresolv libz libexpat
    libnftables libmnl libnftnl libxtables libjansson libgmp libedit libbsd libmd libtinfo
""")
"""What Python and nft are linked against."""
NOT_WANTED: Final = _words("""
    LICENSE.txt *.so __pycache__ test tkinter turtle.py turtledemo idlelib lib2to3 unittest doctest.py pdb.py
    distutils ensurepip venv pydoc.py pydoc_data pickletools.py site.py sitecustomize.py ctypes curses dbm sqlite3
    multiprocessing asynchat.py asyncore.py email html http xml xmlrpc wsgiref ftplib.py imaplib.py mailbox.py
    nntplib.py smtpd.py smtplib.py tarfile.py zipfile.py
    cp[0-9]*.py mac_*.py iso*.py big5*.py euc_*.py gb*.py hp_roman8.py hz.py johab.py k*[0-9]*.py palmos.py ptcp154.py
    shift_*.py tis_620.py
""")
"""Parts of the standard library that no guest imports; of the encodings only Unicode's stay."""
EXTENSIONS: Final = _words("_asyncio _contextvars _json _queue _typing mmap resource termios")
"""Extension modules of the standard library that are not built into the interpreter."""
AGENT_PACKAGES: Final = _words("python3-cryptography python3-cffi-backend libssl3 libffi8 libgcc-s1")
AGENT_SHARED_LIBRARIES: Final = _words("libssl libcrypto libffi libgcc_s ossl-modules/legacy")
AGENT_EXTENSIONS: Final = _words("_ssl _hashlib")
AGENT_STANDARD_LIBRARY: Final = _words("email http/__init__.py http/client.py")
AGENT_MODULES: Final = _words("cryptography _cffi_backend.*.so")
"""What an appliance's agent has besides: TLS and signatures, and what the MQTT client imports."""
PROTOCOLS: Final = "icmp 1\ntcp 6\nudp 17\nipv6-icmp 58\nsctp 132\n"
"""/etc/protocols, by which nft knows protocols (IANA, "Assigned Internet Protocol Numbers")."""
INIT: Final = """\
#!/bin/busybox sh
# The guest's first process: mounts what Python needs, loads the drivers of the devices, and becomes Python.
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t tmpfs tmp /run
while read -r module; do /bin/busybox insmod "/modules/$module.ko"; done < /modules/devices
export PYTHONPATH=/vafw PATH=/usr/sbin:/bin HOME=/run
if test -e /vafw/libraries; then . /vafw/libraries; fi
exec /usr/bin/python3.11 -S -s -B -m vafw.provider.qemu.guest
"""
