"""The servers of a `Site`: web over HTTP and HTTPS, an echo on UDP 443, and OpenSSH's daemon, on every address.

Run inside a namespace: ``python servers.py FOLDER``. Keys and the certificate are made in FOLDER. Prints ``serving``
when every port is open. Pages: ``/`` is a short page, ``/big/N`` is N bytes of text that compresses well; what is
posted is answered with its length and its SHA-256.
"""

from __future__ import annotations

import hashlib
import signal
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LINE = b"The quick brown fox jumps over the lazy dog, and the firewall lets it.\n"


class DualStackServer(ThreadingHTTPServer):
    """One listener for IPv4 and IPv6."""

    address_family = socket.AF_INET6
    daemon_threads = True


class Page(BaseHTTPRequestHandler):
    """Answers GET with a page whose size the path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """One page."""
        size = int(self.path.removeprefix("/big/")) if self.path.startswith("/big/") else len(LINE)
        body = (LINE * (size // len(LINE) + 1))[:size]
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """What came, in short."""
        body = self._body()
        said = f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the capture is the log."""


def certificate(folder: Path) -> ssl.SSLContext:
    """A TLS context with a self-signed certificate made now."""
    key, chain = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=www.example.com", "-days", "3650"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(chain), *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def echo_datagrams(udp: socket.socket) -> None:
    """Send back what comes, as a QUIC server's version negotiation would be: one datagram for each."""
    while True:
        data, peer = udp.recvfrom(2048)
        udp.sendto(data, peer)


def secure_shell(folder: Path) -> subprocess.Popen[bytes]:
    """OpenSSH's daemon with a fresh host key."""
    key = folder / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    options = ["-o", "PidFile=none", "-o", "UseDNS=no", "-o", "LogLevel=INFO"]
    daemon = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", str(key), *options], stderr=subprocess.PIPE
    )
    assert daemon.stderr is not None
    while b"listening on ::" not in daemon.stderr.readline():
        if daemon.poll() is not None:
            raise RuntimeError(f"sshd must stay, but ended with {daemon.returncode}")
    return daemon


def main(folder: Path) -> None:
    """Serve until terminated."""
    web = DualStackServer(("::", 80), Page)
    tls = DualStackServer(("::", 443), Page)
    tls.socket = certificate(folder).wrap_socket(tls.socket, server_side=True)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.bind(("::", 443))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the daemon below is ended too
    for target in (web.serve_forever, tls.serve_forever, lambda: echo_datagrams(udp)):
        threading.Thread(target=target, daemon=True).start()
    with secure_shell(folder) as daemon:
        print("serving", flush=True)
        try:
            daemon.wait()
        finally:
            daemon.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
