"""Device paths and variables in their written form."""

from __future__ import annotations

import contextlib
import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from vafw.attest.logs.device_path import read_device_path
from vafw.attest.logs.firmware import partitions
from vafw.attest.logs.guid import IMAGE_SECURITY_DATABASE, X509
from vafw.attest.logs.variable import Variable
from vafw.wire import FormatError

END = bytes((0x7F, 0xFF, 4, 0))
DISK = uuid.UUID("9b6c7bb1-2a4f-4fd8-a1b4-1a6c2a4bd111")


def node(kind: int, subtype: int, content: bytes) -> bytes:
    return bytes((kind, subtype)) + (len(content) + 4).to_bytes(2, "little") + content


def little(*numbers: tuple[int, int]) -> bytes:
    return b"".join(value.to_bytes(size, "little") for value, size in numbers)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (node(2, 1, little((0x0A0341D0, 4), (0, 4))) + node(1, 1, bytes((2, 0x1F))), "PciRoot(0x0)/Pci(0x1f,0x2)"),
        (node(2, 1, little((0x0A0841D0, 4), (1, 4))), "PcieRoot(0x1)"),
        (node(2, 1, little((0x060441D0, 4), (0, 4))), "Acpi(PNP0604,0x0)"),
        (node(3, 18, little((1, 2), (0xFFFF, 2), (0, 2))), "Sata(0x1,0xffff,0x0)"),
        (node(3, 23, little((1, 4)) + bytes(range(8))), "NVMe(0x1,00-01-02-03-04-05-06-07)"),
        (node(3, 5, bytes((3, 0))), "USB(0x3,0x0)"),
        (node(3, 11, bytes(range(6)) + bytes(26) + b"\1"), "MAC(000102030405,0x1)"),
        (node(3, 24, b"http://boot/x.efi"), "Uri(http://boot/x.efi)"),
        (
            node(4, 1, little((1, 4), (0x800, 8), (0x100000, 8)) + DISK.bytes_le + b"\2\2"),
            f"HD(1,GPT,{DISK},0x800,0x100000)",
        ),
        (
            node(4, 1, little((1, 4), (1, 8), (2, 8), (0xAABBCCDD, 4)) + bytes(12) + b"\1\1"),
            "HD(1,MBR,aabbccdd,0x1,0x2)",
        ),
        (node(4, 4, "\\EFI\\BOOT\\BOOTX64.EFI\0".encode("utf-16-le")), "\\EFI\\BOOT\\BOOTX64.EFI"),
        (node(4, 4, "a\u202eb\0".encode("utf-16-le")), "a\\x202eb"),
        (node(4, 8, little((0, 4), (0x10, 8), (0x20, 8))), "Offset(0x10,0x20)"),
        (node(9, 9, b"\xab"), "Path(9,9,ab)"),
        (node(1, 1, bytes((0, 1))) + bytes((0x7F, 1, 4, 0)) + node(1, 1, bytes((0, 2))), "Pci(0x1,0x0), Pci(0x2,0x0)"),
    ],
)
def test_a_path_has_one_written_form(path: bytes, text: str) -> None:
    assert read_device_path(path + END) == text


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (b"", "device path, byte 0: the type of a node must have 1 bytes, and 0 are left"),
        (bytes((1, 1, 3, 0)), "device path, byte 2: the size of a node must be at least 4, not 3"),
        (END + b"\0", "device path, byte 4: nothing may follow the structure, and 1 B do"),
        (bytes((0x7F, 7, 4, 0)), "device path, byte 1: the end of a path must have subtype 0xff or 0x1, not 0x7"),
        (node(1, 1, b"\0") + END, "device path, byte 1: the device must have 1 bytes, and 0 are left"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(path: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"^{re.escape(message)}$"):
        read_device_path(path)


def variable(name: str, content: bytes, guid: str = IMAGE_SECURITY_DATABASE) -> bytes:
    head = uuid.UUID(guid).bytes_le + little((len(name), 8), (len(content), 8))
    return head + name.encode("utf-16-le") + content


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "maker")])
    key, now = ec.derive_private_key(5, ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return dated.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def signature_list(kind: str, *signatures: bytes) -> bytes:
    size = 16 + len(signatures[0])
    head = uuid.UUID(kind).bytes_le + little((28 + size * len(signatures), 4), (0, 4), (size, 4))
    return head + b"".join(DISK.bytes_le + each for each in signatures)


def test_signature_databases_name_who_may_sign() -> None:
    digests = signature_list("c1c41626-504c-4092-aca9-41f936934328", bytes(32), b"\1" * 32)
    found = Variable.decode(variable("db", signature_list(X509, certificate()) + digests))
    assert found.summary() == "db: 3 signatures"
    signatures = found.fields()["signatures"]
    assert isinstance(signatures, list)
    assert [each["type"] for each in signatures] == ["X.509 certificate", "SHA-256 digest", "SHA-256 digest"]  # type: ignore[index,call-overload]
    assert str(signatures[0]["says"]).startswith("CN=maker (SHA-256 ")  # type: ignore[index,call-overload]


def test_a_boot_option_says_what_it_boots() -> None:
    path = node(4, 4, "\\grub.efi\0".encode("utf-16-le")) + END
    option = little((1, 4), (len(path), 2)) + "Debian\0".encode("utf-16-le") + path + b"\7"
    found = Variable.decode(variable("Boot0001", option))
    assert found.summary() == "Boot0001: Debian, \\grub.efi"
    assert (found.fields()["active"], found.fields()["data"]) == (True, "07")


def test_partitions_are_listed_by_what_they_are() -> None:
    entry = (
        uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").bytes_le + DISK.bytes_le + little((34, 8), (99, 8), (0, 8))
    )
    data = (
        b"EFI PART"
        + bytes(48)
        + DISK.bytes_le
        + bytes(20)
        + little((1, 8))
        + entry
        + "ESP".encode("utf-16-le").ljust(72, b"\0")
    )
    assert partitions(data).summary == f"disk {DISK}: EFI system partition ESP"


@given(st.binary(max_size=120))
def test_noise_is_a_path_or_a_format_error(noise: bytes) -> None:
    with contextlib.suppress(FormatError):
        read_device_path(noise)


@given(st.sampled_from(["db", "PK", "Boot0001", "BootOrder", "SecureBoot", "x"]), st.binary(max_size=120))
def test_noise_in_a_variable_is_described_or_a_format_error(name: str, noise: bytes) -> None:
    found = Variable.decode(variable(name, noise))
    try:
        assert found.summary().startswith(f"{name}: ")
        found.fields()
    except FormatError:
        pass
