"""swtpm as a server of its own, for tests that reach a TPM the way its users do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509


@contextmanager
def serving(state: Path) -> Iterator[Path]:
    """A started swtpm whose state lies in a folder; the path of its socket, for the TSS's own swtpm interface."""
    path = state / "s"
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}"]
    command += ["--server", f"type=unixio,path={path}", "--ctrl", f"type=unixio,path={path}.ctrl"]
    command += ["--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (path.exists() and Path(f"{path}.ctrl").exists()) and process.poll() is None:
            time.sleep(0.002)  # no event tells when a program of others listens
        yield path
    finally:
        process.terminate()
        process.wait()


def manufactured(folder: Path) -> tuple[Path, x509.Certificate]:
    """The state of a TPM whose endorsement key an authority of the folder's own certified, and that authority."""
    state, authority = folder / "state", folder / "authority"
    for each in (state, authority):
        each.mkdir()
    settings = {"statedir": authority, "signingkey": authority / "key.pem", "issuercert": authority / "issuer.pem"}
    settings["certserial"] = authority / "serial"
    (folder / "ca.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (folder / "ca.options").write_text("--platform-manufacturer vafw\n--platform-version 1\n--platform-model test\n")
    tool = "/usr/bin/swtpm_localca"
    (folder / "setup.conf").write_text(
        f"create_certs_tool={tool}\ncreate_certs_tool_config={folder}/ca.conf\n"
        f"create_certs_tool_options={folder}/ca.options\n"
    )
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), "--config", str(folder / "setup.conf")]
    subprocess.run([*command, "--create-ek-cert", "--lock-nvram"], check=True, capture_output=True)
    return state, x509.load_pem_x509_certificate((authority / "issuer.pem").read_bytes())
