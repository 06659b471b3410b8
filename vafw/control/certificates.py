"""The certificates of one broker and its clients: an authority that lives as long as the broker's folder.

Keys are ECDSA P-256, written into a folder that only its owner may read. A client's identity is the common name of its
certificate and nothing else; see `topics` for what an identity may do.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = timedelta(days=365)
_BACKDATED: Final = timedelta(days=1)
"""Clocks of guests may be behind the host's."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path


@final
class Authority:
    """A fresh authority; its key stays in memory."""

    def __init__(self, folder: Path, now: datetime) -> None:
        """Make the authority and write its certificate to ``ca.pem`` in `folder`, which must exist."""
        self._folder = folder
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("vafw broker authority")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = _usage(signs_certificates=True)
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(constraints, critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.pem"
        _write(self.certificate, certificate.public_bytes(Encoding.PEM))

    def server(self, address: str) -> Certificate:
        """A certificate for a broker that listens at `address`."""
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        return self._issue("broker", ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, identity: str) -> Certificate:
        """A certificate for a client."""
        return self._issue(identity, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self, name: str, purpose: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(_named(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        _write(made.certificate, builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        _write(made.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BACKDATED)
            .not_valid_after(self._now + LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )


def client_context(authority: Path, certificate: Certificate | None) -> ssl.SSLContext:
    """TLS 1.3 towards a broker of this authority, with a client's certificate (or none, which brokers refuse)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(authority)
    if certificate is not None:
        context.load_cert_chain(certificate.certificate, certificate.key)
    return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(data)
