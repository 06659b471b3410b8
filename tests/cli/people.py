"""People with keys, made for a test, and the shipped example with them in its policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from vafw.openssh.public_key import PublicKey

GROUPS = {"anna": "netops", "ben": "netops, secops", "carla": "secops"}


@dataclass(frozen=True)
class People:
    """Their private keys in a folder, as files of OpenSSH without a passphrase."""

    folder: Path

    @classmethod
    def made_in(cls, folder: Path) -> People:
        folder.mkdir()
        for name in GROUPS:
            key = Ed25519PrivateKey.generate()
            path = folder / name
            path.touch(mode=0o600)
            path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            line = f"{PublicKey(key.public_key().public_bytes_raw())} {name}@desk\n"
            path.with_suffix(".pub").write_text(line)
        return cls(folder)

    def key(self, name: str) -> Path:
        return self.folder / name

    def public(self, name: str) -> PublicKey:
        return PublicKey.parse(self.line(name))

    def line(self, name: str) -> str:
        return self.key(name).with_suffix(".pub").read_text().strip()

    def declare(self, topology: Path, *names: str, signatures: int) -> None:
        """Write these people into the policy beside `topology`, in place of the management that stands there."""
        people = "".join(f'    {name}: {{key: "{self.line(name)}", groups: [{GROUPS[name]}]}}\n' for name in names)
        policy = topology.with_name("policy.yaml")
        head, _, _ = policy.read_text().partition("management:")
        policy.write_text(
            f"{head}management:\n  people:\n{people}  may-configure: {{firewall: [netops], dns: [secops]}}\n"
            f"  signatures: {signatures}\n"
        )
